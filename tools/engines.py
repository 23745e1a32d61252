"""What the tools that name or write engines have in common: directories in settings, the ONNX they promise, whole files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import PlainSerializer

from edged.errors import InputError
from edged.models.manifest import MANIFEST_NAME, ManifestT, dump_manifest

OPSET = 17
IR_VERSION = 8
"""What opset 17 came with: every ONNX Runtime from 1.12 on reads it."""
ONNX_NAME = "model.onnx"
FP16_NAME = "model.fp16.onnx"
INT8_NAME = "model.int8.onnx"

EngineFolder = Annotated[Path, PlainSerializer(lambda folder: folder.name, return_type=str)]
"""The directory of an engine in a training's settings; dumped by its name, where it lies is of this machine only."""


def parse_size(text: str) -> tuple[int, int]:
    """Width and height, pixels, of `320` or `416x256`.

    Raises:
        InputError: it is neither.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise InputError(f"--input {text}: expected one number such as 320, or WIDTHxHEIGHT such as 352x288")
    return int(sides[0]), int(sides[-1])


def write_manifest(engine: Path, manifest: ManifestT) -> ManifestT:
    """Write an engine's manifest in one piece; returns it."""
    write_whole(engine / MANIFEST_NAME, dump_manifest(manifest).encode())
    return manifest


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one piece: whoever reads meanwhile sees the old one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)
