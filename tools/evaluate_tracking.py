"""How well objects are followed: MOTA, IDF1 and HOTA on a sequence in MOT layout.

    python -m tools.evaluate_tracking --gt MOTDIR --tracks t.txt [--json]
    python -m tools.evaluate_tracking --gt MOTDIR --detections d.txt --engine engines/detector \\
        [--peer-python .venv-bench/bin/python] [--json]

`--tracks` judges finished tracks, such as those of `edged replay --tracks`. `--detections` runs the shipped tracker over
the detections first, and with `--peer-python` ByteTrack of the public `trackers` package over the very same ones: once
as it comes, once with our score thresholds, since its own expect a detector that is surer of itself.

MOTA and IDF1 count a box as found at IoU 0.5; HOTA is the mean over 0.05 … 0.95. All three are computed by `trackeval`.
"""

from __future__ import annotations

import argparse
import configparser
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.errors import EXIT_CONFIG, InputError, ModelError
from edged.models.detector import thresholds_of
from edged.models.manifest import DetectorManifest, load_manifest
from edged.tracking.settings import TrackerSettings
from edged.tracking.tracker import Tracker
from edged.types import Detections
from edged.vision.boxes import iou_matrix

_PEER_SCRIPT = Path(__file__).with_name("peer_bytetrack.py")
_FRAME, _NUMBER, _X, _SCORE, _CLASS = 0, 1, slice(2, 6), 6, 7


@dataclass(frozen=True, slots=True, eq=False)
class MotSequence:
    """A labelled sequence in MOT layout.

    Attributes:
        rows: (K, >= 6) frame, id, x, y, w, h, …; frames from 1.
    """

    rows: NDArray[np.float64]
    n_frames: int
    fps: float


@dataclass(frozen=True, slots=True)
class TrackingQuality:
    """What trackeval says; ratios between 0 and 1, MOTA may be under 0."""

    mota: float
    idf1: float
    hota: float
    detection_accuracy: float
    association_accuracy: float
    recall: float
    precision: float
    n_id_switches: int
    n_tracks: int


def load_sequence(directory: Path) -> MotSequence:
    """The labels of `gt/gt.txt` and the facts of `seqinfo.ini`.

    Raises:
        InputError: either is missing or cannot be read.
    """
    parser = configparser.ConfigParser()
    try:
        parser.read_string((directory / "seqinfo.ini").read_text(encoding="utf-8"))
        n_frames = parser.getint("Sequence", "seqLength")
        fps = parser.getfloat("Sequence", "frameRate")
    except (OSError, ValueError, configparser.Error) as error:
        raise InputError(f"{directory}: expected seqinfo.ini with seqLength and frameRate: {error}") from error
    rows = load_mot_rows(directory / "gt" / "gt.txt")
    return MotSequence(rows[rows[:, _SCORE] > 0], n_frames, fps)


def load_mot_rows(path: Path) -> NDArray[np.float64]:
    """(K, >= 8) the rows `frame,id,x,y,w,h,conf,class,…` of a file; an empty file has none.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        rows = np.loadtxt(text.splitlines(), delimiter=",", ndmin=2) if text.strip() else np.zeros((0, 10))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected rows frame,id,x,y,w,h,conf,class,-1,-1: {error}") from error
    if rows.shape[1] <= _CLASS:
        raise InputError(f"{path}: expected at least 8 columns (frame,id,x,y,w,h,conf,class), found {rows.shape[1]}")
    return rows


def track_rows(rows: NDArray[np.float64], *, settings: TrackerSettings, fps: float, n_frames: int) -> NDArray[np.float64]:
    """(K, 8) what our tracker makes of detection rows of one class: its confirmed tracks, as MOT rows."""
    tracker = Tracker(settings, class_names=["object"])
    tracked = []
    for frame in range(1, n_frames + 1):
        of_frame = rows[rows[:, _FRAME] == frame]
        boxes = _xyxy(of_frame).astype(np.float32)
        scores = of_frame[:, _SCORE].astype(np.float32)
        tracks = tracker.update(Detections(boxes, scores, np.zeros(len(of_frame), np.int64)), now_s=frame / fps)
        for track in tracks.confirmed:
            x1, y1, x2, y2 = track.box.tolist()
            tracked.append([frame, track.number, x1, y1, x2 - x1, y2 - y1, track.score, 0])
    return np.array(tracked).reshape(-1, 8)


def peer_rows(
    rows: NDArray[np.float64], *, python: Path, settings: dict[str, float], fps: float, n_frames: int
) -> NDArray[np.float64]:
    """What the peer makes of the same rows, run by another Python.

    Raises:
        InputError: it cannot be started or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        detections, tracks = Path(folder, "detections.txt"), Path(folder, "tracks.txt")
        np.savetxt(detections, rows, delimiter=",", fmt="%.4f")
        command = [str(python), str(_PEER_SCRIPT), str(detections), str(tracks), "--fps", str(fps)]
        command += ["--frames", str(n_frames), "--settings", json.dumps(settings)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except OSError as error:
            raise InputError(f"{python}: cannot be started: {error}") from error
        except subprocess.CalledProcessError as error:
            raise InputError(f"{python}: the peer failed; does its environment hold `trackers`?\n{error.stderr}") from error
        return load_mot_rows(tracks)


def evaluate(sequence: MotSequence, rows: NDArray[np.float64]) -> TrackingQuality:
    """Judges tracks.

    Args:
        rows: (K, >= 8) MOT rows of the tracks.

    Raises:
        InputError: `trackeval` is not installed. It is no dependency: what it asks for would overwrite our OpenCV.
    """
    try:
        from trackeval.metrics import CLEAR, HOTA, Identity
    except ImportError as error:
        raise InputError(f"trackeval is missing: pip install --no-deps -r requirements/test-no-deps.txt ({error})") from error
    data = _trackeval_data(sequence, rows)
    clear = CLEAR({"PRINT_CONFIG": False}).eval_sequence(data)
    identity = Identity({"PRINT_CONFIG": False}).eval_sequence(data)
    hota = HOTA().eval_sequence(data)
    return TrackingQuality(
        mota=float(clear["MOTA"]),
        idf1=float(identity["IDF1"]),
        hota=float(np.mean(hota["HOTA"])),
        detection_accuracy=float(np.mean(hota["DetA"])),
        association_accuracy=float(np.mean(hota["AssA"])),
        recall=float(clear["CLR_Re"]),
        precision=float(clear["CLR_Pr"]),
        n_id_switches=int(clear["IDSW"]),
        n_tracks=int(data["num_tracker_ids"]),
    )


def _trackeval_data(sequence: MotSequence, rows: NDArray[np.float64]) -> dict[str, object]:
    """The sequence as trackeval's metrics want it: ids from 0 without holes, per frame, with the overlaps."""
    gt_ids, gt_index = np.unique(sequence.rows[:, _NUMBER], return_inverse=True)
    track_ids, track_index = np.unique(rows[:, _NUMBER], return_inverse=True)
    frames = range(1, sequence.n_frames + 1)
    gt_masks = [sequence.rows[:, _FRAME] == frame for frame in frames]
    track_masks = [rows[:, _FRAME] == frame for frame in frames]
    return {
        "num_timesteps": sequence.n_frames,
        "num_gt_ids": len(gt_ids),
        "num_tracker_ids": len(track_ids),
        "num_gt_dets": int(sum(mask.sum() for mask in gt_masks)),
        "num_tracker_dets": int(sum(mask.sum() for mask in track_masks)),
        "gt_ids": [gt_index[mask] for mask in gt_masks],
        "tracker_ids": [track_index[mask] for mask in track_masks],
        "similarity_scores": [
            _similarity(sequence.rows[gt], rows[track]) for gt, track in zip(gt_masks, track_masks, strict=True)
        ],
    }


def _similarity(labelled: NDArray[np.float64], tracked: NDArray[np.float64]) -> NDArray[np.float32]:
    """(L, T) overlap; 0 between different classes, where the label names one (MOT layout: -1 is any)."""
    label_class, track_class = labelled[:, None, _CLASS], tracked[None, :, _CLASS]
    return iou_matrix(_xyxy(labelled), _xyxy(tracked)) * ((label_class < 0) | (label_class == track_class))


def _xyxy(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, 4) the boxes of MOT rows."""
    boxes = rows[:, _X].copy()
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _settings_for(engine: Path, class_id: int) -> TrackerSettings:
    """The shipped settings with what this detector calls a sure score."""
    thresholds = thresholds_of(load_manifest(engine, kind=DetectorManifest))
    return TrackerSettings(high_score=thresholds.score_by_class.get(class_id, thresholds.score))


def _compare(
    sequence: MotSequence, detections: NDArray[np.float64], *, settings: TrackerSettings, peer_python: Path | None
) -> dict[str, TrackingQuality]:
    """Name of the tracker -> quality, all on the same detections."""
    facts = {"fps": sequence.fps, "n_frames": sequence.n_frames}
    found = {"edged": evaluate(sequence, track_rows(detections, settings=settings, **facts))}
    if peer_python is not None:
        ours = {
            "track_activation_threshold": settings.high_score * settings.new_score_ratio,
            "high_conf_det_threshold": settings.high_score,
        }
        usable = detections[detections[:, _SCORE] >= settings.high_score * settings.low_score_ratio]
        for name, rows, arguments in (
            ("trackers ByteTrack, its settings", detections, {}),
            ("trackers ByteTrack, our scores", usable, ours),
        ):
            found[name] = evaluate(sequence, peer_rows(rows, python=peer_python, settings=arguments, **facts))
    return found


def _table(found: dict[str, TrackingQuality]) -> str:
    lines = [f"{'':34}   MOTA   IDF1   HOTA   DetA   AssA recall  prec.  IDSW tracks"]
    for name, quality in found.items():
        ratios = " ".join(f"{value:6.3f}" for value in list(asdict(quality).values())[:7])
        lines.append(f"{name:34} {ratios} {quality.n_id_switches:5d} {quality.n_tracks:6d}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Prints the figures; 78 where an input cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m tools.evaluate_tracking", description="MOTA, IDF1 and HOTA.")
    parser.add_argument("--gt", type=Path, required=True, metavar="MOTDIR", help="folder with gt/gt.txt and seqinfo.ini")
    rows = parser.add_mutually_exclusive_group(required=True)
    rows.add_argument("--tracks", type=Path, help="finished tracks, MOT rows")
    rows.add_argument("--detections", type=Path, help="detections for the shipped tracker, MOT rows")
    parser.add_argument("--class-id", type=int, default=0, help="the class that the labels show (default 0, person)")
    parser.add_argument("--engine", type=Path, help="the detector's folder: its score threshold of the class is used")
    parser.add_argument("--peer-python", type=Path, help="Python of an environment with the package `trackers`")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    try:
        sequence = load_sequence(arguments.gt)
        given = load_mot_rows(arguments.tracks or arguments.detections)
        given = given[given[:, _CLASS] == arguments.class_id]
        if arguments.tracks:
            found = {str(arguments.tracks): evaluate(sequence, given)}
        else:
            settings = _settings_for(arguments.engine, arguments.class_id) if arguments.engine else TrackerSettings()
            found = _compare(sequence, given, settings=settings, peer_python=arguments.peer_python)
    except (InputError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    print(json.dumps({name: asdict(quality) for name, quality in found.items()}) if arguments.json else _table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
