"""The clip that everything is measured on: the drawn street as H.264."""

from __future__ import annotations

from pathlib import Path

from edged.sinks.video import VideoWriter
from edged.street.scene import Street
from edged.vision.redact import NOTHING, redact

WIDTH, HEIGHT, FPS = 640, 360, 15.0
SEED = 2
"""A busy street: eight objects in the mean."""


def draw_clip(path: Path, *, n_frames: int) -> Path:
    """Write so many frames of 640x360 at 15 frames a second."""
    street = Street(SEED, width=WIDTH, height=HEIGHT, fps=FPS)
    with VideoWriter(path, FPS) as writer:
        for index in range(n_frames):
            writer.write(redact(street.frame(index), NOTHING))
    return path
