"""The drawn street, in which everybody wears a drawn face: who was seen where is known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
from stand_ins.faces import N_PEOPLE, draw_face

from edged.sources.base import SourceFrame
from edged.sources.street import StreetSource, StreetStream
from edged.street.scene import Street
from edged.types import Pixels

FACE_SHARE = 0.24
"""Width of a face as a share of its person's height."""
CLEAR_VISIBLE = 0.95
"""Only a person of whom so much is seen gets a face: one that is hidden must not shine through what hides it."""


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A face that a frame shows: whose, where the person is (x1, y1, x2, y2, pixels), and how wide it is."""

    number: int
    person_box: tuple[float, float, float, float]
    width_px: int


@dataclass(frozen=True)
class FacedStreet:
    """A `FrameSource` of street people with faces.

    Attributes:
        street: what is drawn, and whether it is live.
        spoofs: numbers of the faces that are pictures.
        paint: draws the face of a number into a box of a picture, living or not.
        reads: monotonic seconds at which each frame was read, and its index.
    """

    street: StreetSource
    spoofs: frozenset[int] = frozenset()
    paint: Callable[..., None] = field(default=draw_face, repr=False, compare=False)
    reads: list[tuple[float, int]] = field(default_factory=list, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    _scenes: dict[str, Street] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_live(self) -> bool:
        return self.street.is_live

    @property
    def label(self) -> str:
        return f"faced {self.street.label}"

    @property
    def deadline_s(self) -> float:
        return self.street.deadline_s

    def open(self) -> FacedStream:
        return FacedStream(self, self.street.open())

    def faces(self, index: int) -> list[SeenFace]:
        """The faces of a frame, counted from 0."""
        with self._lock:
            if "truth" not in self._scenes:
                street = self.street
                self._scenes["truth"] = Street(street.seed, width=street.width, height=street.height, fps=street.fps)
            truth = self._scenes["truth"].truth(index)
        rows = zip(truth.track_ids.tolist(), truth.class_names, truth.boxes.tolist(), truth.visible.tolist(), strict=True)
        return [
            SeenFace(track_id % N_PEOPLE, tuple(box), round(FACE_SHARE * (box[3] - box[1])))
            for track_id, class_name, box, visible in rows
            if class_name == "person" and visible >= CLEAR_VISIBLE
        ]

    def draw(self, pixels: Pixels, index: int) -> Pixels:
        """A frame with its faces."""
        for face in self.faces(index):
            x1, y1, x2, _ = face.person_box
            left, top = round((x1 + x2 - face.width_px) / 2), round(y1)
            box = (max(0, left), max(0, top), left + face.width_px, top + face.width_px)
            self.paint(pixels, face.number, box, live=face.number not in self.spoofs)
        return pixels


class FacedStream:
    """An open street of people with faces."""

    def __init__(self, source: FacedStreet, stream: StreetStream) -> None:
        self._source = source
        self._stream = stream

    def read(self) -> SourceFrame:
        frame = self._stream.read()
        index = round(frame.stream_s * self._source.street.fps)
        self._source.reads.append((time.monotonic(), index))
        return SourceFrame(
            frame.width, frame.height, frame.stream_s, lambda: self._source.draw(np.array(frame.make_pixels_rgb()), index)
        )

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> FacedStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
