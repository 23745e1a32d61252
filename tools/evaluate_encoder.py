"""How well an encoder tells whether two pictures show one person; `python -m tools.evaluate` comes here for engines of that task.

    python -m tools.evaluate engines/face-encoder DATA/lfw_dev --points engines/face-detector [--imagenet NPZ] [--html report.html]

Every set gives all pairs of its pictures; one with a list of pairs beside its labels (`dev_pairs.csv`) is also judged on these, by
every metric and beside what nobody taught with faces.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.assembly import open_detector, open_encoder
from edged.errors import InputError
from edged.identity.metrics import Metric, PairClassifier, PairForm, compare
from edged.models.detector import Detector
from edged.models.manifest import EncoderManifest
from edged.types import Pixels
from edged.vision.alignment import POINT_NAMES, TEMPLATES
from tools.crop_data import Crops
from tools.datasets.opening import load_set
from tools.datasets.pictures import PictureSet
from tools.face_baselines import LBP_TEMPLATE, imagenet_embeddings, imagenet_template, lbp_histograms, lbp_scores
from tools.face_crops import FindPoints, crop_faces
from tools.verification import PAIRS_FILE, Acceptance, Pairs, Verdict, all_pairs, judge, read_pairs

_BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class FaceSet:
    """What is found in one set.

    Attributes:
        name: of its folder.
        crops: as the encoder is shown them.
        central: so many of them were cut from about the middle, no face being found.
        ms_per_face: of the encoder.
        embeddings: (N, D) of unit length.
        everybody: all pairs by the cosine; None with pairs of one kind only.
        pairs: of the list beside the labels; None without one.
        verdicts: of that list, by method.
        scores: (P,) of that list by the cosine.
    """

    name: str
    crops: Crops
    central: int
    ms_per_face: float
    embeddings: NDArray[np.float32]
    everybody: Verdict | None
    pairs: Pairs | None
    verdicts: Mapping[str, Verdict]
    scores: NDArray[np.float64] | None


def evaluate_encoder(arguments: argparse.Namespace) -> str:
    """What is to be printed; writes the page where one is asked for.

    Raises:
        ModelError, InputError: an engine or the data cannot be used.
    """
    if arguments.data is None:
        raise InputError("DATA is missing: name a folder of pictures labelled by identity, or a folder of such")
    split = None if arguments.split == "all" else arguments.split or "val"
    folders = find_sets(arguments.data)
    with open_encoder(arguments.engine, precision=arguments.precision, threads=arguments.threads) as encoder:
        with open_finder(arguments.points, threads=arguments.threads) as find:
            found = [_look_at(folder, split, encoder, find, arguments) for folder in folders]
        label, manifest = f"{encoder.label}, {arguments.precision}", encoder.manifest
    if arguments.html:
        from tools.report.verification_page import write_page  # noqa: PLC0415 - a page is rarely asked for

        write_page(arguments.html, label, manifest, found, n_pictures=arguments.pictures)
    return json.dumps(_report(label, found), indent=1) if arguments.json else _table(label, found)


def find_sets(data: Path) -> list[Path]:
    """The folder itself if it has labels, else the folders in it that have.

    Raises:
        InputError: there is none.
    """
    folders = [data] if (data / "labels.csv").is_file() else sorted(one.parent for one in data.glob("*/labels.csv"))
    if not folders:
        raise InputError(f"{data}: no labels.csv there or in a folder in it; expected columns file, identity, split")
    return folders


@contextmanager
def open_finder(engine: Path | None, *, threads: int) -> Iterator[FindPoints | None]:
    """Finds the most prominent face of a picture by a detector with points; None without an engine.

    Raises:
        ModelError, InputError: it cannot be used, or tells no points.
    """
    if engine is None:
        yield None
        return
    with open_detector(engine, threads=threads) as detector:
        if detector.manifest.points != POINT_NAMES:
            told = ", ".join(detector.manifest.points) or "none"
            raise InputError(f"--points {engine}: expected a detector that tells {', '.join(POINT_NAMES)}; it tells {told}")
        yield lambda pixels_rgb: largest_face(detector, pixels_rgb)


def largest_face(detector: Detector, pixels_rgb: Pixels) -> NDArray[np.float32] | None:
    """(5, 2) the points of the face with the largest box times its score; None if there is no face."""
    (found,) = detector.detect([pixels_rgb])
    if not len(found):
        return None
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    return found.points[int(np.argmax(found.scores * np.sqrt(sides.prod(axis=1))))]
