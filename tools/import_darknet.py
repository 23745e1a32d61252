"""Make an engine of a darknet YOLO: `python -m tools.import_darknet NET.cfg NET.weights NAMES --out engines/NAME [--input 320]`.

The daemon letterboxes with grey; darknet itself stretches the picture unless told otherwise. Anchors are in input pixels at
any size of input.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edged.errors import EdgedError, InputError
from edged.models.manifest import (
    DataSource,
    DetectorManifest,
    InputSpec,
    OnnxFile,
    OutputNames,
    Thresholds,
    digest_file,
)
from tools.darknet.cfg import Layer, load_cfg
from tools.darknet.graph import make_onnx
from tools.darknet.options import Yolo
from tools.darknet.shapes import Shapes, infer_shapes
from tools.darknet.weights import Weights, load_weights
from tools.engines import ONNX_NAME, OPSET, parse_size, write_manifest, write_whole

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a network comes from and what may be done with it; `UNKNOWN` where nobody said."""

    licence_mark: str = UNKNOWN
    licence: str = UNKNOWN
    source: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class DarknetFiles:
    """The three files of a darknet network: its layers, their numbers, the classes' names one a line."""

    cfg: Path
    weights: Path
    names: Path


def main(argv: list[str] | None = None) -> int:
    """Write model.onnx and model.yaml of a network that darknet trained."""
    parser = argparse.ArgumentParser(prog="python -m tools.import_darknet", description=main.__doc__)
    parser.add_argument("cfg", type=Path, help="the network's layers, NET.cfg")
    parser.add_argument("weights", type=Path, help="their numbers, NET.weights")
    parser.add_argument("names", type=Path, help="names of the classes, one a line, in the network's order")
    parser.add_argument("--out", type=Path, required=True, help="the engine's directory; its name is the engine's")
    parser.add_argument("--input", metavar="PX", help="side of the input, or WIDTHxHEIGHT; default: what the cfg says")
    parser.add_argument("--rename", action="append", default=[], metavar="OLD=NEW", help="a class, e.g. motorbike=motorcycle")
    parser.add_argument("--score", type=float, default=0.25, help="threshold of the manifest (default: %(default)s)")
    parser.add_argument("--nms-iou", type=float, default=0.45, help="overlap that suppression allows (default: %(default)s)")
    parser.add_argument("--licence-mark", choices=("P", "D", "R", UNKNOWN), default=UNKNOWN, help="mark of the weights")
    parser.add_argument("--licence", default=UNKNOWN, help="licence of the weights, in words")
    parser.add_argument("--source", default=UNKNOWN, help="where they come from, and what they were trained on")
    arguments = parser.parse_args(argv)
    try:
        manifest = import_engine(
            DarknetFiles(arguments.cfg, arguments.weights, arguments.names),
            arguments.out,
            size=arguments.input,
            renames=arguments.rename,
            thresholds=_thresholds(arguments.score, arguments.nms_iou),
            origin=Origin(arguments.licence_mark, arguments.licence, arguments.source),
        )
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 78
    print(f"{arguments.out}: revision {manifest.revision}, {(arguments.out / ONNX_NAME).stat().st_size / 1e6:.2f} MB")
    if UNKNOWN in (arguments.licence_mark, arguments.licence, arguments.source):
        print("licence or source unknown, and so says the manifest: --licence-mark, --licence and --source set them")
    return 0


def import_engine(
    files: DarknetFiles,
    out: Path,
    *,
    size: str | None = None,
    renames: list[str] | None = None,
    thresholds: Thresholds,
    origin: Origin,
) -> DetectorManifest:
    """Write an engine's two files; the same input gives the same bytes.

    Args:
        size: `320` or `352x288`; what the cfg says if absent.
        renames: `old=new` each, for names that the rest of the world spells otherwise.

    Raises:
        InputError: naming the file, what is wrong in it and how to mend it.
    """
    network = load_cfg(files.cfg)
    width, height = parse_size(size) if size else (network.width, network.height)
    shapes = infer_shapes(network, width=width, height=height)
    heads = [layer for layer in network.layers if isinstance(layer.options, Yolo)]
    classes = _load_names(files.names, renames or [])
    _check_classes(classes, heads, files)
    weights = load_weights(files.weights, network, shapes)
    if not re.fullmatch("[a-z0-9_-]{1,64}", out.resolve().name):
        raise InputError(f"{out}: the directory's name is the engine's: lower-case letters, digits, _ and -, at most 64")
    content = make_onnx(network, weights, shapes)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / ONNX_NAME, content)
    manifest = _manifest(files, out, heads, shapes, classes=classes, thresholds=thresholds, origin=origin, weights=weights)
    return write_manifest(out, manifest)


def _thresholds(score: float, nms_iou: float) -> Thresholds:
    try:
        return Thresholds(score=score, nms_iou=nms_iou)
    except ValidationError as error:
        wrong = "; ".join(f"--{str(one['loc'][0]).replace('_', '-')} {one['input']}: {one['msg']}" for one in error.errors())
        raise InputError(wrong) from error


def _load_names(path: Path, renames: list[str]) -> tuple[str, ...]:
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list of names: {error}") from error
    while names and not names[-1]:
        names.pop()
    for rename in renames:
        old, _, new = rename.partition("=")
        if not new or old not in names:
            raise InputError(f"--rename {rename}: expected OLD=NEW, where {path} has the name OLD")
        names[names.index(old)] = new
    for number, name in enumerate(names, start=1):
        if not name or names.index(name) != number - 1:
            what = f"{name!r} stands twice" if name else "an empty line"
            raise InputError(f"{path}: line {number}: {what}: every class needs a name of its own")
    return tuple(names)


def _check_classes(classes: tuple[str, ...], heads: list[Layer], files: DarknetFiles) -> None:
    for head in heads:
        if head.options.classes != len(classes):
            raise InputError(
                f"{files.names}: holds {len(classes)} names, but in {files.cfg} {head.place} has classes={head.options.classes}: "
                "take the list that belongs to the network"
            )


def _manifest(
    files: DarknetFiles,
    out: Path,
    heads: list[Layer],
    shapes: Shapes,
    *,
    classes: tuple[str, ...],
    thresholds: Thresholds,
    origin: Origin,
    weights: Weights,
) -> DetectorManifest:
    digest = digest_file(out / ONNX_NAME)
    width, height = shapes.picture.width, shapes.picture.height
    fields = {"licence_mark": origin.licence_mark, "licence": origin.licence, "source": origin.source}
    return DetectorManifest(
        name=out.resolve().name,
        task="detector",
        revision=digest[:12],
        licence=origin.licence,
        onnx=OnnxFile(file=ONNX_NAME, sha256=digest, opset=OPSET),
        input=InputSpec(name="images", width=width, height=height, colour="rgb", layout="nchw", dtype="uint8"),
        outputs=OutputNames(boxes="boxes", scores="scores"),
        classes=classes,
        strides=tuple(shapes.stride(head.number) for head in heads),
        anchors=tuple(head.options.sizes for head in heads),
        thresholds=thresholds,
        data=(DataSource(name=files.weights.name, **fields, use="trained by others with darknet, imported as it is"),),
        measured="not measured",
        trained={
            "cfg": {"file": files.cfg.name, "sha256": digest_file(files.cfg)},
            "weights": {"file": files.weights.name, "sha256": digest_file(files.weights)},
            "pictures_seen": weights.pictures_seen,
        },
    )


if __name__ == "__main__":
    raise SystemExit(main())
