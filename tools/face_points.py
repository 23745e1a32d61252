"""Find the face and its five points in every picture of labelled sets, and write these sets anew with boxes and points.

    python -m tools.face_points engines/face-detector DATA/lfw_dev DATA/glint24 --out DATA/faces

What is written is read as any other set. A picture without a found face stays, its cells for box and points empty.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from pathlib import Path

from edged.assembly import open_detector
from edged.errors import EXIT_CONFIG, EdgedError, InputError
from edged.models.detector import Detector
from edged.vision.alignment import POINT_NAMES
from tools.datasets.opening import load_set
from tools.datasets.pictures import Picture, PictureSet
from tools.face_finding import check_points, most_prominent
from tools.verification import PAIRS_FILE

COLUMNS = (
    *("file", "identity", "split", "width", "height", "box_x", "box_y", "box_w", "box_h"),
    *(f"{name}_{axis}" for name in POINT_NAMES for axis in "xy"),
)


def main(argv: list[str] | None = None) -> int:
    """Print for each set how many faces were found."""
    parser = argparse.ArgumentParser(prog="python -m tools.face_points", description=main.__doc__)
    parser.add_argument("detector", type=Path, help="engine directory of a face detector that tells five points")
    parser.add_argument("sets", type=Path, nargs="+", help="folders of pictures labelled by identity")
    parser.add_argument("--out", type=Path, required=True, help="folder for the new sets, each under its old name")
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime")
    arguments = parser.parse_args(argv)
    try:
        with open_detector(arguments.detector, threads=arguments.threads) as detector:
            check_points(detector)
            for folder in arguments.sets:
                found, pictures = write_set(detector, folder, arguments.out / folder.name)
                print(f"{folder.name}: faces found in {found} of {pictures} pictures")
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    return 0


def write_set(detector: Detector, folder: Path, out: Path) -> tuple[int, int]:
    """Write a set with points; returns in how many pictures a face was found, and how many there are.

    Raises:
        InputError: the set cannot be read, its pictures have no labels, or there is something in `out` already.
    """
    pictures = load_set(folder)
    if unlabelled := [picture.name for picture in pictures.pictures if not picture.label]:
        raise InputError(f"{folder}: {unlabelled[0]} has no label; expected a column identity or label in labels.csv")
    if out.exists():
        raise InputError(f"{out}: is there already; name another folder, or remove it")
    out.mkdir(parents=True)
    rows = [_row(detector, picture) for picture in pictures.pictures]
    _write_pictures(pictures, out)
    if (folder / PAIRS_FILE).is_file():
        shutil.copyfile(folder / PAIRS_FILE, out / PAIRS_FILE)
    with (out / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return sum("box_x" in row for row in rows), len(rows)


def _row(detector: Detector, picture: Picture) -> dict[str, object]:
    pixels_rgb = picture.pixels_rgb()
    height, width = pixels_rgb.shape[:2]
    row: dict[str, object] = {
        "file": picture.origin.file,
        "identity": picture.label,
        "split": picture.origin.split,
        "width": width,
        "height": height,
    }
    face = most_prominent(detector, pixels_rgb)
    if face is not None:
        x1, y1, x2, y2 = face.boxes[0].tolist()
        sides = {"box_x": x1, "box_y": y1, "box_w": x2 - x1, "box_h": y2 - y1}
        points = dict(zip(COLUMNS[-2 * len(POINT_NAMES) :], face.points[0].ravel().tolist(), strict=True))
        row |= {name: f"{value:.2f}" for name, value in (sides | points).items()}
    return row


def _write_pictures(pictures: PictureSet, out: Path) -> None:
    for picture in pictures.pictures:
        path = out / picture.origin.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture.encoded)


if __name__ == "__main__":
    raise SystemExit(main())
