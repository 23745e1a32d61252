"""Make an engine of a published MiniFASNet, to compare with: `python -m tools.import_minifasnet NETWORK.onnx --out DIR`.

Source: minivision-ai/Silent-Face-Anti-Spoofing, which shows it the face box enlarged 2.7 times about its middle, BGR, 0 to 255.
Where that square leaves the picture it is moved and made smaller there; here the picture's edge goes on, as for every network.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import onnx

from edged.errors import EXIT_CONFIG, EdgedError, InputError
from edged.models.manifest import (
    LIVE,
    DataSource,
    InputSpec,
    LivenessManifest,
    LivenessThresholds,
    OnnxFile,
    ScoresOutput,
    digest_file,
)
from tools.engines import ONNX_NAME, write_manifest, write_whole

CLASSES = ("spoof_0", LIVE, "spoof_2")
"""What its outputs are; which attack either of the others is, is told nowhere."""
MARGIN = 2.7


def main(argv: list[str] | None = None) -> int:
    """Write the network and a manifest that the daemon's own code reads; it is shown faces with their surroundings."""
    parser = argparse.ArgumentParser(prog="python -m tools.import_minifasnet", description=main.__doc__)
    parser.add_argument("network", type=Path, help="MiniFASNetV2 2.7_80x80 as ONNX, its softmax included")
    parser.add_argument("--out", type=Path, required=True, help="the engine's directory; its name is the engine's")
    arguments = parser.parse_args(argv)
    try:
        manifest = import_minifasnet(arguments.network, arguments.out)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    print(f"{arguments.out}: revision {manifest.revision}")
    return 0


def import_minifasnet(network: Path, out: Path) -> LivenessManifest:
    """Write an engine's two files.

    Raises:
        InputError: it is no ONNX file, or not a network from pictures of one size to three probabilities.
    """
    try:
        content = network.read_bytes()
        model = onnx.load_from_string(content)
    except Exception as error:  # protobuf raises errors of its own for a file of another kind
        raise InputError(f"{network}: cannot be read as ONNX: {error}") from error
    (pictures, *more), outputs = model.graph.input, model.graph.output
    shape = [dim.dim_value for dim in pictures.type.tensor_type.shape.dim]
    answers = [[dim.dim_value for dim in output.type.tensor_type.shape.dim][1:] for output in outputs]
    if more or len(shape) != 4 or shape[1] != 3 or not shape[2] == shape[3] > 0 or answers != [[len(CLASSES)]]:
        raise InputError(f"{network}: expected one input (N, 3, side, side) and one output (N, {len(CLASSES)}) as MiniFASNet has")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / ONNX_NAME, content)
    digest = digest_file(out / ONNX_NAME)
    manifest = LivenessManifest(
        name=out.resolve().name,
        task="liveness",
        revision=digest[:12],
        licence="Apache-2.0",
        onnx=OnnxFile(file=ONNX_NAME, sha256=digest, opset=model.opset_import[0].version),
        input=InputSpec(name=pictures.name, width=shape[3], height=shape[2], colour="bgr", layout="nchw", dtype="float32"),
        outputs=ScoresOutput(scores=outputs[0].name),
        classes=CLASSES,
        margin=MARGIN,
        thresholds=LivenessThresholds(live=0.5),
        data=(
            DataSource(
                name="Silent-Face-Anti-Spoofing",
                licence_mark="P",
                licence="Apache-2.0; of its training data nothing is told",
                source="minivision-ai/Silent-Face-Anti-Spoofing @b6d5f04, resources/anti_spoof_models/2.7_80x80_MiniFASNetV2.pth",
                use="trained by others",
            ),
        ),
        measured="not measured",
    )
    return write_manifest(out, manifest)


if __name__ == "__main__":
    raise SystemExit(main())
