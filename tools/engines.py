"""What the tools that write engines have in common: the ONNX they promise, and files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

OPSET = 17
IR_VERSION = 8
"""What opset 17 came with: every ONNX Runtime from 1.12 on reads it."""
ONNX_NAME = "model.onnx"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one piece: whoever reads meanwhile sees the old one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)
