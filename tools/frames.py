"""Pictures out of clips: `python -m tools.frames CLIP… --out FOLDER --every 0.5`.

They come as a COCO set in which nothing is labelled yet: for people to label, or for `gaps:` of a training to fill.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av

from edged.errors import EXIT_CONFIG, EdgedError, InputError
from edged.types import Pixels
from tools.datasets import CLASSES, coco
from tools.datasets.encoding import encode_jpeg
from tools.engines import write_whole

FOLDER = "images"


def main(argv: list[str] | None = None) -> int:
    """Write frames of clips as a set without labels."""
    parser = argparse.ArgumentParser(prog="python -m tools.frames", description=main.__doc__)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP", help="video files")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where the set goes; must not exist or be empty"
    )
    parser.add_argument("--every", type=_seconds, default=1.0, metavar="S", help="seconds between two; default: %(default)s")
    arguments = parser.parse_args(argv)
    try:
        counts = write_frames(arguments.clips, arguments.out, every_s=arguments.every)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    for clip, count in zip(arguments.clips, counts, strict=True):
        print(f"{clip}: {count} pictures")
    return 0


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds above 0, e.g. 0.5")
    return seconds


def write_frames(clips: Sequence[Path], out: Path, *, every_s: float) -> list[int]:
    """Write `images/CLIP-MILLISECONDS.jpg` and `annotations.json`, all in split train; how many pictures each clip gave.

    Raises:
        InputError: a clip cannot be read or has no picture, two have one name, or the folder is in use.
    """
    names = [clip.stem for clip in clips]
    if len(set(names)) < len(names):
        raise InputError(f"clips: two are called {max(names, key=names.count)}, and so would be their pictures: rename one")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: is not empty: name a new folder")
    (out / FOLDER).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    counts = []
    for clip in clips:
        before = len(images)
        for time_s, pixels_rgb in _frames(clip, every_s=every_s):
            file = f"{FOLDER}/{clip.stem}-{round(time_s * 1000):07d}.jpg"
            height, width = pixels_rgb.shape[:2]
            write_whole(out / file, encode_jpeg(pixels_rgb))
            images.append({"id": len(images) + 1, "file_name": file, "width": width, "height": height, "split": "train"})
        counts.append(len(images) - before)
        if not counts[-1]:
            raise InputError(f"{clip}: no picture in it could be decoded")
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    content = {"images": images, "annotations": [], "categories": categories, "labelled_categories": []}
    write_whole(out / coco.FILE, json.dumps(content, indent=1).encode())
    return counts


def _frames(clip: Path, *, every_s: float) -> Iterator[tuple[float, Pixels]]:
    """The first frame at or after each multiple of `every_s`, and its time from the first frame, seconds."""
    try:
        with av.open(str(clip)) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None:
                raise InputError(f"{clip}: has no video")
            first, due = None, 0.0
            for frame in container.decode(stream):
                if frame.time is None:
                    continue
                first = frame.time if first is None else first
                time_s = frame.time - first
                if time_s >= due - 1e-6:
                    due = (math.floor(time_s / every_s + 1e-6) + 1) * every_s
                    yield time_s, frame.to_ndarray(format="rgb24")
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"{clip}: cannot be read as video: {error}") from error


if __name__ == "__main__":
    raise SystemExit(main())
