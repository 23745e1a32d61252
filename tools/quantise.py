"""An INT8 network beside an engine's own: `python -m tools.quantise engines/mine --data DATA`.

QuantizeLinear and DequantizeLinear stand around every convolution and addition: weights symmetric with a scale for each output
channel, activations with a scale for each tensor, biases in float. What is between them is computed in INT8, by ONNX Runtime and
by TensorRT. What scales the picture before them stays in float, and so do the heads and all that is computed from their answers:
coordinates in 255 steps would be no boxes.

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
import time
from collections.abc import Iterable, Iterator, Sequence
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

from edged.assembly import open_network
from edged.errors import EXIT_CONFIG, EdgedError, InputError
from edged.models.manifest import DetectorManifest, Manifest, QuantisedFile, SegmenterManifest, digest_file, load_manifest
from edged.models.network import Network
from edged.parity import check_parity, limits_of
from edged.types import Pixels
from tools.conversion import choose_float, from_convolutions_on, name_nodes, read_float, tidy
from tools.datasets import PictureSet
from tools.datasets.checking import FEWEST
from tools.engines import INT8_NAME, write_manifest, write_whole
from tools.evaluate_segmenter import load_masks, measure_engine
from tools.metrics import ClassScore, score_class
from tools.network_inputs import choose_evenly, load_faces, show
from tools.report.judged import in_terms_of, judged_classes, load_boxes
from tools.report.run import FLOOR, STAGES, Run, run_engine

LAYERS = ("Conv", "Add")
ACTIVATIONS = ("Relu", "Clip")
"""An unsigned range that starts at 0 is what these do: they are folded into the layer before."""
SHARES = np.geomspace(0.1, 1.0, 40)
"""Of the largest value seen: where a range may end."""
FIRST_OPSET = 13
"""The first one with a scale for each channel."""
MOST_JUDGED, JUDGED_AT_ONCE = 1000, 16
"""Pictures that a network which is no detector is judged on, and so many in a batch."""
TIMED = 50
"""Runs of the network alone."""
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
        lines: how good both are, or how alike, for people.
        network_ms: what the network alone took a picture, in float and in INT8.
    """

    manifest: Manifest
    lines: tuple[str, ...]
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
    """Write an engine's INT8 network and name it in the manifest, with how good both are or how alike.

    Args:
        engine: directory with model.yaml and model.onnx; a former INT8 network is replaced.
        data: a set of any layout, or a folder of sets: with boxes for a detector, with masks for a segmenter, for other networks
            with a face each picture.

    Raises:
        ModelError, InputError: the engine, the data or the installed packages cannot be used, or nothing would be left to
            quantise.
    """
    refuse_old_quantiser()
    manifest = load_manifest(engine)
    match manifest:
        case DetectorManifest():
            return _quantise_detector(engine, data, settings)
        case SegmenterManifest():
            return _quantise_segmenter(engine, data, settings)
    judges = load_faces(data, split="val")
    _write_int8(engine, load_faces(data, split="train"), settings)
    with open_network(engine) as exact, open_network(engine, precision="int8") as rough:
        pictures = [pixels for one in choose_evenly(judges, MOST_JUDGED) for pixels in show(exact, one)]
        parity = check_parity(exact, rough, pictures, batches=[JUDGED_AT_ONCE])
        network_ms = tuple(_time_network(network, pictures) for network in (exact, rough))
    figures = {name: round(value, 4) for name, value in parity.figures.items()}
    measured = {"on": f"val split of {', '.join(one.name for one in judges)}", "pictures": parity.pictures, **figures}
    limits = limits_of(exact.manifest, "int8")
    return Quantised(_note_measured(engine, measured), (f"beside float: {parity.describe(limits)}",), network_ms)


def _quantise_detector(engine: Path, data: Path, settings: QuantiseSettings) -> Quantised:
    """Judged by AP50 of both."""
    pictures = load_boxes(data, split="train")
    judges = in_terms_of(judged_classes([load_manifest(engine, kind=DetectorManifest)]), load_boxes(data, split="val"))
    before = run_engine(engine, judges, threads=1)
    manifest = _write_int8(engine, pictures, settings)
    after = run_engine(engine, judges, threads=1, precision="int8")
    known = [(number, name) for number, name in enumerate(judges[0].classes) if name in before.thresholds]
    scores = {name: (_pooled(before, number), _pooled(after, number)) for number, name in known}
    scores = {name: pair for name, pair in scores.items() if pair[0].n >= FEWEST}
    if scores:
        manifest = _note_measured(engine, _measured(judges, scores))
    return Quantised(manifest, tuple(_score_lines(scores)), (_network_ms(before), _network_ms(after)))


def _quantise_segmenter(engine: Path, data: Path, settings: QuantiseSettings) -> Quantised:
    """Judged by IoU of both."""
    pictures, judges = (load_masks(data, split=split) for split in ("train", "val"))
    before = measure_engine(engine, judges)
    _write_int8(engine, pictures, settings)
    after = measure_engine(engine, judges, precision="int8")
    measured: dict[str, Any] = {"on": "val split, at the pictures' own size"}
    lines = []
    for exact, rough in zip(before, after, strict=True):
        name, n_pictures = exact.run.pictures.name, len(exact.run.counted)
        pairs = {kind: (part.iou.value, rough.classes[kind].iou.value) for kind, part in exact.classes.items()}
        known = {kind: pair for kind, pair in pairs.items() if None not in pair}
        mean = exact.mean_iou.value, rough.mean_iou.value
        measured[name] = {"pictures": n_pictures, "miou": _pair_json(mean), "iou": {k: _pair_json(v) for k, v in known.items()}}
        lines += [f"IoU on {n_pictures} pictures of {name}", f"{'':18}{'float':>8}{'INT8':>8}{'lost':>8}"]
        lines += [_row(kind, *pair) for kind, pair in {**known, "mean": mean}.items()]
    network_ms = tuple(float(np.concatenate([one.run.stages_ms for one in runs])[:, 1].mean()) for runs in (before, after))
    return Quantised(_note_measured(engine, measured), tuple(lines), network_ms)


def _write_int8(engine: Path, sets: Sequence[PictureSet], settings: QuantiseSettings) -> Manifest:
    """Write the network, calibrated on pictures of these sets, and name it in the manifest, which is returned."""
    chosen = choose_evenly(sets, settings.pictures)
    with open_network(engine) as network:
        made = make_int8(engine, (pixels for one in chosen for pixels in show(network, one)), settings)
        manifest = network.manifest
    write_whole(engine / INT8_NAME, made.SerializeToString(deterministic=True))
    int8 = QuantisedFile(
        file=INT8_NAME,
        sha256=digest_file(engine / INT8_NAME),
        opset=manifest.onnx.opset,
        calibration=f"{sum(len(one.pictures) for one in chosen)} pictures of the train split",
        symmetric=settings.symmetric,
    )
    return write_manifest(engine, manifest.model_copy(update={"int8": int8}))


def _note_measured(engine: Path, measured: dict[str, Any]) -> Manifest:
    """Write into the manifest what the INT8 network is worth; returns it."""
    manifest = load_manifest(engine, precision="int8")
    return write_manifest(engine, manifest.model_copy(update={"int8": manifest.int8.model_copy(update={"measured": measured})}))


def _time_network(network: Network[Manifest], pictures: Sequence[Pixels]) -> float:
    """What the network alone takes a picture, milliseconds: the mean of many runs."""
    batch = network.prepare(pictures[:1])
    started_s = time.perf_counter()
    for _ in range(TIMED):
        network.infer(batch)
    return 1000 * (time.perf_counter() - started_s) / TIMED


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


def make_int8(engine: Path, pictures: Iterable[Pixels], settings: QuantiseSettings) -> onnx.ModelProto:
    """The INT8 network of an engine, of standard operators only.

    Args:
        pictures: what activations are measured on, as the network is shown them; see `tools.network_inputs.show`.

    Raises:
        ModelError: the engine cannot be used.
        InputError: its network is of a kind that cannot be quantised, or a layer to keep is not there.
    """
    with open_network(engine) as opened:
        path = engine / opened.manifest.onnx.file
        network = onnx.shape_inference.infer_shapes(read_float(path))
        if any(opset.version < FIRST_OPSET for opset in network.opset_import if opset.domain in ("", "ai.onnx")):
            raise InputError(f"{path}: an older operator set than {FIRST_OPSET} has one scale for all channels: export it again")
        name_nodes(network)  # the quantiser knows them by name
        reached = from_convolutions_on(network.graph)  # what comes before them scales the picture
        kept = [
            *choose_float(network, settings.keep_float, path),
            *(node.name for node in network.graph.node if node.name not in reached),
        ]
        _part_weights(network.graph, kept=kept)
        operators = list(LAYERS if settings.symmetric else LAYERS + ACTIVATIONS)
        with _silence():
            ranges = _find_ranges(network, operators, _feeds(opened, pictures), symmetric=settings.symmetric)
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


def _part_weights(graph: onnx.GraphProto, *, kept: Sequence[str]) -> None:
    """Give each convolution weights of its own where two share some, as those of a picture and of its mirror image do.

    ONNX Runtime makes unsigned weights of signed ones where sums must be exact, and names them after these: it cannot load a
    network in which two layers do so with the same (1.31: `Attempt to replace the existing tensor`).

    Args:
        kept: names of the nodes that stay in float; they may share.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    seen: set[str] = set()
    for node in graph.node:
        if node.op_type != "Conv" or node.name in kept or node.input[1] not in weights:
            continue
        name = node.input[1]
        if name in seen:
            own = onnx.TensorProto.FromString(weights[name].SerializeToString())
            own.name = node.input[1] = f"{name} of {node.name}"
            graph.initializer.append(own)
        seen.add(name)


@contextmanager
def _silence() -> Iterator[None]:
    """The quantiser prints what it does, and advises on steps that change nothing here."""
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _feeds(network: Network[Manifest], pictures: Iterable[Pixels]) -> Iterator[dict[str, NDArray[np.generic]]]:
    """One picture each, prepared as the daemon prepares it."""
    for pixels_rgb in pictures:
        yield {network.manifest.input.name: network.prepare([pixels_rgb]).tensor}


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


def _pair_json(pair: tuple[float, float]) -> dict[str, float]:
    return {"fp32": round(pair[0], 4), "int8": round(pair[1], 4)}


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
    lines = list(made.lines)
    lines.append("".join([f"{'megabytes':18}", *(f"{(engine / name).stat().st_size / 1e6:8.2f}" for name in files)]))
    lines.append(
        "".join([f"{'ms a picture':18}", *(f"{each:8.1f}" for each in made.network_ms), "  the network on 1 thread here"])
    )
    return "\n".join(lines)


def _score_lines(scores: dict[str, tuple[ClassScore, ClassScore]]) -> Iterator[str]:
    """AP50 in float and in INT8, a line a class."""
    yield f"{'AP50':12}{'n':>6}{'float':>8}{'INT8':>8}{'lost':>8}"
    if not scores:
        yield f"not measured: the val split has no class with {FEWEST} objects"
        return
    for name, (exact, rough) in scores.items():
        yield _row(f"{name:12}{exact.n:6d}", exact.ap50, rough.ap50)
    means = np.mean([[score.ap50 for score in pair] for pair in scores.values()], axis=0)
    yield _row("mean", *means)
    if means[0] - means[1] > MOST_LOST:
        yield "more than 1 point is lost: try more --pictures, or name layers to --keep-float"


def _row(title: str, exact: float, rough: float) -> str:
    return f"{title:18}{exact:8.3f}{rough:8.3f}{exact - rough:8.3f}"


if __name__ == "__main__":
    raise SystemExit(main())
