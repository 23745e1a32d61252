"""An INT8 network beside an engine's own: `python -m tools.quantise engines/mine --data DATA`.

QuantizeLinear and DequantizeLinear stand around every convolution and addition: weights symmetric with a scale for each output
channel, activations with a scale for each tensor, biases in float. What is between them is computed in INT8, by ONNX Runtime and
by TensorRT. The heads and all that is computed from their answers stay in float: coordinates in 255 steps would be no boxes.

The range of a tensor is the one that rounds what was seen of it with the least squared error: rare large values are cut off where
that makes the steps of all others finer by enough.

Sources: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018;
ranges, Nagel et al., A White Paper on Neural Network Quantization, 2021; histograms and graph are ONNX Runtime's quantiser.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edged.assembly import open_detector
from edged.errors import EXIT_CONFIG, EdgedError, InputError
from edged.models.detector import Detector
from edged.models.manifest import DetectorManifest, QuantisedFile, digest_file, load_manifest
from tools.conversion import choose_float, name_nodes, tidy
from tools.datasets import Picture, PictureSet
from tools.datasets.checking import FEWEST
from tools.engines import INT8_NAME, write_manifest, write_whole
from tools.metrics import ClassScore, score_class
from tools.report.judged import in_terms_of, judged_classes, load_boxes
from tools.report.run import FLOOR, STAGES, Run, run_engine

LAYERS = ("Conv", "Add")
ACTIVATIONS = ("Relu", "Clip")
"""An unsigned range that starts at 0 is what these do: they are folded into the layer before."""
SHARES = np.geomspace(0.1, 1.0, 40)
"""Of the largest value seen: where a range may end."""
FIRST_OPSET = 13
"""The first one with a scale for each channel."""
MOST_LOST = 0.01
"""Of the mean AP50: above it the command says what else to try."""


@dataclass(frozen=True, slots=True)
class QuantiseSettings:
    """What ranges are found on and what stays in float.

    Attributes:
        pictures: so many to calibrate on.
        symmetric: activations in signed INT8 around 0, the one form that TensorRT takes; else unsigned, from 0 on after a ReLU.
        keep_float: beginnings of layers' names that stay in float, beside the heads.
    """

    pictures: int = 150
    symmetric: bool = True
    keep_float: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quantised:
    """An engine with its INT8 network, and what both are worth.

    Attributes:
        scores: in float and in INT8, of every class with at least FEWEST objects in the val split.
        network_ms: what the network alone took a picture, in float and in INT8.
    """

    manifest: DetectorManifest
    scores: dict[str, tuple[ClassScore, ClassScore]]
    network_ms: tuple[float, float]


def main(argv: list[str] | None = None) -> int:
    """Write model.int8.onnx beside an engine's network, measure both, and name it in model.yaml."""
    defaults = QuantiseSettings()
    parser = argparse.ArgumentParser(prog="python -m tools.quantise", description=main.__doc__)
    parser.add_argument("engine", type=Path, help="directory with model.yaml and model.onnx")
    parser.add_argument(
        "--data", type=Path, required=True, help="a set, or a folder of sets: pictures of train calibrate, those of val measure"
    )
    parser.add_argument(
        "--pictures", type=int, default=defaults.pictures, metavar="N", help="to calibrate on (default: %(default)s)"
    )
    parser.add_argument(
        "--unsigned",
        action="store_true",
        help="activations from 0 on: faster in ONNX Runtime, refused by TensorRT; else signed around 0, which both take",
    )
    parser.add_argument(
        "--keep-float", nargs="+", default=[], metavar="PREFIX", help="layers whose names begin so stay in float, too"
    )
    arguments = parser.parse_args(argv)
    settings = QuantiseSettings(arguments.pictures, not arguments.unsigned, tuple(arguments.keep_float))
    try:
        print(_describe(arguments.engine, quantise(arguments.engine, arguments.data, settings)))
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    return 0


def quantise(engine: Path, data: Path, settings: QuantiseSettings) -> Quantised:
    """Write an engine's INT8 network and name it in the manifest, with AP50 of both.

    Args:
        engine: directory with model.yaml and model.onnx; a former INT8 network is replaced.
        data: a set of any layout with boxes, or a folder of such sets.

    Raises:
        ModelError, InputError: the engine, the data or the installed packages cannot be used, or nothing would be left to
            quantise.
    """
    refuse_old_quantiser()
    pictures = choose_pictures(load_boxes(data, split="train"), settings.pictures)
    judges = in_terms_of(judged_classes([load_manifest(engine, kind=DetectorManifest)]), load_boxes(data, split="val"))
    before = run_engine(engine, judges, threads=1)
    network = make_int8(engine, pictures, settings)
    write_whole(engine / INT8_NAME, network.SerializeToString(deterministic=True))
    int8 = QuantisedFile(
        file=INT8_NAME,
        sha256=digest_file(engine / INT8_NAME),
        opset=before.manifest.onnx.opset,
        calibration=f"{len(pictures)} pictures of the train split",
        symmetric=settings.symmetric,
    )
    write_manifest(engine, before.manifest.model_copy(update={"int8": int8}))
    after = run_engine(engine, judges, threads=1, precision="int8")
    known = [(number, name) for number, name in enumerate(judges[0].classes) if name in before.thresholds]
    scores = {name: (_pooled(before, number), _pooled(after, number)) for number, name in known}
    scores = {name: pair for name, pair in scores.items() if pair[0].n >= FEWEST}
    if scores:
        int8 = int8.model_copy(update={"measured": _measured(judges, scores)})
    manifest = write_manifest(engine, before.manifest.model_copy(update={"int8": int8}))
    return Quantised(manifest, scores, (_network_ms(before), _network_ms(after)))


def refuse_old_quantiser() -> None:
    """Stop before a quantiser that would fail in the middle: ONNX Runtime 1.18's needs `onnx.mapping`, which onnx 1.19 dropped.

    Goes when ONNX Runtime 1.19 is the oldest that edged takes.

    Raises:
        InputError: naming both versions and what to install.
    """
    old = tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 19)
    if old and not hasattr(onnx, "mapping"):
        found = f"the quantiser of onnxruntime {onnxruntime.__version__} does not work with onnx {onnx.__version__}"
        raise InputError(f"{found}: pip install 'onnxruntime>=1.19', or 'onnx<1.19'; requirements/test.txt has a pair that fits")


def choose_pictures(sets: Sequence[PictureSet], count: int) -> list[Picture]:
    """So many pictures, about the same number of each set where it has them, evenly over its length.

    Raises:
        InputError: fewer than one.
    """
    if count < 1:
        raise InputError(f"--pictures {count}: expected at least 1")
    share = -(-count // len(sets))
    chosen = []
    for one in sets:
        places = np.unique(np.linspace(0, len(one.pictures) - 1, share).astype(np.int64))
        chosen += [one.pictures[place] for place in places]
    return chosen


def make_int8(engine: Path, pictures: Sequence[Picture], settings: QuantiseSettings) -> onnx.ModelProto:
    """The INT8 network of an engine, of standard operators only.

    Args:
        pictures: what activations are measured on, prepared as the daemon prepares them.

    Raises:
        ModelError: the engine cannot be used.
        InputError: its network is of a kind that cannot be quantised, or a layer to keep is not there.
    """
    with open_detector(engine) as detector:
        path = engine / detector.manifest.onnx.file
        network = onnx.shape_inference.infer_shapes(onnx.load(path))
        if any(opset.version < FIRST_OPSET for opset in network.opset_import if opset.domain in ("", "ai.onnx")):
            raise InputError(f"{path}: an older operator set than {FIRST_OPSET} has one scale for all channels: export it again")
        name_nodes(network)  # the quantiser knows them by name
        kept = choose_float(network, settings.keep_float, path)
        operators = list(LAYERS if settings.symmetric else LAYERS + ACTIVATIONS)
        with _silence():
            ranges = _find_ranges(network, operators, _feeds(detector, pictures), symmetric=settings.symmetric)
            quantiser = QDQQuantizer(
                network,
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QInt8 if settings.symmetric else QuantType.QUInt8,
                tensors_range=ranges,
                nodes_to_quantize=[],
                nodes_to_exclude=kept,
                op_types_to_quantize=operators,
                extra_options={
                    "ActivationSymmetric": settings.symmetric,
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                    # An activation that stays is what counts: the range before it would be coarser.
                    "OpTypesToExcludeOutputQuantization": ["Conv"] if settings.symmetric else [],
                },
            )
            quantiser.quantize_model()
    return tidy(quantiser.model.model)


@contextmanager
def _silence() -> Iterator[None]:
    """The quantiser prints what it does, and advises on steps that change nothing here."""
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _feeds(detector: Detector, pictures: Sequence[Picture]) -> Iterator[dict[str, NDArray[np.generic]]]:
    """One picture each, prepared as the daemon prepares it."""
    for picture in pictures:
        yield {detector.manifest.input.name: detector.prepare([picture.pixels_rgb()]).tensor}


class _Once(CalibrationDataReader):
    """A single feed: so the quantiser holds the tensors of one picture at a time."""

    def __init__(self, feed: dict[str, NDArray[np.generic]]) -> None:
        self._left: dict[str, NDArray[np.generic]] | None = feed

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        feed, self._left = self._left, None
        return feed


def _find_ranges(
    network: onnx.ModelProto, operators: list[str], feeds: Iterator[dict[str, NDArray[np.generic]]], *, symmetric: bool
) -> TensorsData:
    """The range of every tensor that the operators read or write, from a histogram of its values."""
    with tempfile.TemporaryDirectory(prefix="edged-int8-") as directory:
        path = Path(directory) / "network.onnx"
        onnx.save(network, path)
        calibrator = create_calibrator(
            path,
            operators,
            augmented_model_path=str(Path(directory) / "observed.onnx"),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"symmetric": False},
        )
        for feed in feeds:
            calibrator.collect_data(_Once(feed))
    ranges = {}
    for name, (counts, edges, *_) in calibrator.collector.get_histogram_dict().items():
        low, high = choose_range(counts, edges, symmetric=symmetric)
        ranges[name] = TensorData(lowest=np.float32(low), highest=np.float32(high))
    return TensorsData(CalibrationMethod.MinMax, ranges)


def choose_range(counts: NDArray[np.int64], edges: NDArray[np.floating], *, symmetric: bool) -> tuple[float, float]:
    """The ends of the range whose 255 steps hold the values of a histogram with the least squared error; 0 is inside.

    Args:
        counts: (B,) values in each bin.
        edges: (B + 1,) of the bins.
        symmetric: the ends are as far from 0 on either side.
    """
    seen = np.flatnonzero(counts)
    counts, values = counts[seen], (edges[seen] + edges[seen + 1]) / 2
    lowest, highest = min(0.0, float(edges[seen[0]])), max(0.0, float(edges[seen[-1] + 1]))
    if symmetric:
        high = min(max(-lowest, highest) * SHARES, key=lambda end: _squared_error(counts, values, -end, end))
        return -float(high), float(high)
    low, high = lowest, highest
    for _ in range(2):  # one end after the other; the second round hardly changes them
        high = min(highest * SHARES, key=lambda end: _squared_error(counts, values, low, end))
        low = min(lowest * SHARES, key=lambda end: _squared_error(counts, values, end, high))
    return float(low), float(high)


def _squared_error(counts: NDArray[np.int64], values: NDArray[np.floating], low: float, high: float) -> float:
    step = (high - low) / 255 or 1.0
    zero = np.round(-low / step)
    rounded = (np.clip(np.round(values / step) + zero, 0, 255) - zero) * step
    return float(counts @ np.square(rounded - values))


def _pooled(run: Run, class_id: int) -> ClassScore:
    """One class over all sets that label it. Average precision asks for no threshold."""
    truths = [truth for one in run.found if one for truth in one.truths]
    detections = [each for one in run.found if one for each in one.detections]
    return score_class(truths, detections, class_id, threshold=FLOOR)


def _network_ms(run: Run) -> float:
    stages_ms = np.concatenate([one.stages_ms for one in run.found if one])
    return float(stages_ms[:, STAGES.index("network")].mean())


def _measured(sets: Sequence[PictureSet], scores: dict[str, tuple[ClassScore, ClassScore]]) -> dict[str, Any]:
    ap50 = {
        name: {"n": exact.n, "fp32": round(exact.ap50, 4), "int8": round(rough.ap50, 4)}
        for name, (exact, rough) in scores.items()
    }
    return {"on": f"val split of {', '.join(one.name for one in sets)}, at overlap 0.5", "ap50": ap50}


def _describe(engine: Path, made: Quantised) -> str:
    files = (made.manifest.onnx.file, INT8_NAME)
    lines = [f"{'AP50':12}{'n':>6}{'float':>8}{'INT8':>8}{'lost':>8}"]
    lines += [_row(f"{name:12}{exact.n:6d}", exact.ap50, rough.ap50) for name, (exact, rough) in made.scores.items()]
    if made.scores:
        means = np.mean([[score.ap50 for score in pair] for pair in made.scores.values()], axis=0)
        lines.append(_row("mean", *means))
        if means[0] - means[1] > MOST_LOST:
            lines.append("more than 1 point is lost: try more --pictures, or name layers to --keep-float")
    else:
        lines.append(f"not measured: the val split has no class with {FEWEST} objects")
    lines.append("".join([f"{'megabytes':18}", *(f"{(engine / name).stat().st_size / 1e6:8.2f}" for name in files)]))
    lines.append(
        "".join([f"{'ms a picture':18}", *(f"{each:8.1f}" for each in made.network_ms), "  the network on 1 thread here"])
    )
    return "\n".join(lines)


def _row(title: str, exact: float, rough: float) -> str:
    return f"{title:18}{exact:8.3f}{rough:8.3f}{exact - rough:8.3f}"


if __name__ == "__main__":
    raise SystemExit(main())
