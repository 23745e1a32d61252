"""The referee of faces on the drawn street: what was said about each object, beside whose face it truly wears."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass

import numpy as np
from stand_ins.faced_street import FacedStreet

from edged.sinks.base import Message, MessageKind
from edged.vision.boxes import iou_matrix

SAME_IOU = 0.5
ENOUGH_ANSWERS = 6

Answer = tuple[str, "str | None"]


class ListeningSink:
    """Keeps the events with the monotonic time at which they came, and the states of cameras.

    It sets `stop` once it has enough answers about faces.
    """

    dropped = 0

    def __init__(self, stop: threading.Event | None = None) -> None:
        self.events: list[dict] = []
        self.came_s: list[float] = []
        self.states: list[dict] = []
        self._stop = stop
        self._n_answers = 0

    def publish(self, message: Message) -> None:
        if message.kind is MessageKind.EVENT:
            self.came_s.append(time.monotonic())
            self.events.append(json.loads(message.body))
            self._n_answers += self.events[-1]["type"] == "object.identity"
            if self._stop is not None and self._n_answers == ENOUGH_ANSWERS:
                self._stop.set()
        elif message.topic.endswith("/state"):
            self.states.append(json.loads(message.body))

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class Judged:
    """One answer beside the truth.

    Attributes:
        number: of the face that the box of the event is around.
        after_s: from the first frame that shows this face on an announced object to the event; stream seconds in a replay.
    """

    number: int
    answer: Answer
    after_s: float


def true_number(street: FacedStreet, index: int, event: dict, *, since: int | None = None) -> int | None:
    """Whose body the box of an event is around in that frame of the street; None where nobody's with a face is.

    Args:
        since: the frame that announced the object: an answer rests on several faces, so whoever showed none before is not meant.
    """
    faces = street.faces(index)
    if since is not None:
        shown = {face.number for earlier in range(since, index) for face in street.faces(earlier)}
        faces = [face for face in faces if face.number in shown]
    if not faces:
        return None
    box = np.array([event["object"]["box_norm"]], np.float32) * np.float32([street.street.width, street.street.height] * 2)
    overlaps = iou_matrix(box, np.array([face.person_box for face in faces], np.float32))[0]
    return faces[int(overlaps.argmax())].number if overlaps.max() >= SAME_IOU else None


def first_sight(street: FacedStreet, number: int, since: int, until: int) -> int:
    """The first frame from `since` on that shows a face."""
    return next(index for index in range(since, until + 1) if any(face.number == number for face in street.faces(index)))


def judge(street: FacedStreet, events: list[dict], *, last: bool = False) -> list[Judged]:
    """The first or the last answer about each object of a replay, where the truth knows whose it is."""
    announced, judged = {}, {}
    for event in events:
        thing = event["object"]["id"] if "object" in event else None
        index = event["frame"]["seq"] - 1
        if event["type"] == "object.new":
            announced[thing] = index
        if event["type"] != "object.identity" or (thing in judged and not last):
            continue
        number = true_number(street, index, event, since=announced[thing])
        if number is not None:
            after = index - first_sight(street, number, announced[thing], index)
            judged[thing] = Judged(number, (event["identity"]["kind"], event["identity"].get("name")), after / street.street.fps)
    return list(judged.values())
