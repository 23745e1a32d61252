"""Whose face is hidden in a picture that leaves the process.

Hidden are the heads of the persons that the detector or the tracker sees, whether or not faces are looked for: a head is where a
face is, and it needs no network that could miss the face. Who is not seen as a person at all is not hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from edged.events.event import ObjectFacts
from edged.pipeline import FrameResult
from edged.types import FaceDecisionKind, Frame
from edged.vision.boxes import Boxes, iou_matrix, scaled
from edged.vision.heads import head_areas

_STRIDE_WIDTHS = 3.0
"""Somebody who walks crosses about so many widths of their own box in a second."""

_SAME_PERSON_IOU = 0.5


Pixelate = Literal["nobody", "unknown", "everybody"]
"""Whose heads are hidden, the least strict first; unknown is everybody who is not recognised."""

_FROM_LEAST: tuple[Pixelate, ...] = get_args(Pixelate)


@dataclass(frozen=True, slots=True)
class PrivacySettings:
    """What one camera's pictures may show.

    Attributes:
        pixelate: whose heads are hidden.
        zones: what counts for who is in a zone, by its name; of several zones the strictest.
    """

    pixelate: Pixelate = "everybody"
    zones: Mapping[str, Pixelate] = field(default_factory=dict)

    def rule_for(self, facts: ObjectFacts | None) -> Pixelate:
        """What counts for an object; one that nothing is known of yet may be in any zone."""
        if facts is None:
            return _strictest([self.pixelate, *self.zones.values()])
        return _strictest(self.zones[zone] for zone in facts.zones if zone in self.zones) or self.pixelate


def is_known(facts: ObjectFacts | None) -> bool:
    """Whether an object is somebody who was recognised."""
    return facts is not None and facts.identity is not None and facts.identity.kind is FaceDecisionKind.MATCH


def hidden_areas(result: FrameResult, picture: Frame, settings: PrivacySettings, *, person_class_id: int | None) -> Boxes:
    """What is to be hidden in a picture of about the moment of a result: (N, 4), pixels of that picture.

    Args:
        picture: the analysed frame, or one of the same view in another size; the further it is from that moment, the larger
            the areas are.
        person_class_id: None where the detector knows no persons: nothing is hidden.
    """
    people = [track for track in result.tracks.live if track.class_id == person_class_id]
    hidden, shown = [], []
    for track in people:
        facts = result.objects.get(track.number)
        rule = settings.rule_for(facts)
        is_hidden = rule == "everybody" or (rule == "unknown" and not is_known(facts))
        (hidden if is_hidden else shown).append(track.box)
    if result.detections is not None and settings.rule_for(None) != "nobody":
        seen = result.detections.boxes[result.detections.class_ids == person_class_id]
        hidden += [box for box in seen if not _is_one_of(box, shown)]
    if not hidden:
        return np.zeros((0, 4), np.float32)
    areas = head_areas(np.stack(hidden))
    moved = abs(picture.captured_s - result.frame.captured_s) * _STRIDE_WIDTHS
    slack = (areas[:, 2:] - areas[:, :2]) * np.float32(moved)
    areas += np.concatenate([-slack, slack], axis=1)
    return scaled(areas, (result.frame.width, result.frame.height), (picture.width, picture.height))


def _is_one_of(box: np.ndarray, boxes: list[np.ndarray]) -> bool:
    return bool(boxes) and float(iou_matrix(box[None], np.stack(boxes)).max()) >= _SAME_PERSON_IOU


def _strictest(rules: Iterable[Pixelate]) -> Pixelate | None:
    return max(rules, key=_FROM_LEAST.index, default=None)
