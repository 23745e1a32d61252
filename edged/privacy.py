"""What is hidden in a picture that leaves the process.

Hidden are the heads of the persons that the detector or the tracker sees, whether or not faces are looked for: a head is where a
face is, and it needs no network that could miss the face. Who is not seen as a person at all is not hidden.

Hidden are, where a camera says so, areas that never leave, and what a map of the picture is made of. Without a map that is young
enough to say where that is, everything is hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import cv2
import numpy as np

from edged.events.event import ObjectFacts
from edged.pipeline import FrameResult
from edged.types import FaceDecisionKind, Frame
from edged.vision.boxes import Boxes, iou_matrix, scaled
from edged.vision.heads import head_areas
from edged.vision.label_maps import mask_of
from edged.vision.masks import Mask, Polygon, covering_mask
from edged.vision.redact import Cover, PublicPicture, Style, redact

_STRIDE_WIDTHS = 3.0
"""Somebody who walks crosses about so many widths of their own box in a second."""

_SAME_PERSON_IOU = 0.5


Pixelate = Literal["nobody", "unknown", "everybody"]
"""Whose heads are hidden, the least strict first; unknown is everybody who is not recognised."""

_FROM_LEAST: tuple[Pixelate, ...] = get_args(Pixelate)


_LEAST_MARGIN_RATIO = 1e-9
"""Rounds up to one element of any map."""

_EVERYTHING: Mask = np.ones((1, 1), np.bool_)


@dataclass(frozen=True, slots=True)
class ScenePrivacy:
    """What of a scene is hidden, by the class that its map says.

    Attributes:
        hide: names of classes of the map that are hidden.
        show: of those that are not, whatever else there is; None: all others.
        most_age_s: a map further from the picture's moment says nothing of it, and everything is hidden.
        speed_ratio: so far what is hidden may move in a second, as a share of the picture's width.
        margin_ratio: so much around it is hidden, too, in the same unit, and at least one element of the map: borders in maps are
            not exact.
    """

    hide: frozenset[str] = frozenset()
    show: frozenset[str] | None = None
    most_age_s: float = 1.0
    speed_ratio: float = 0.25
    margin_ratio: float = 0.01

    def hides(self, class_name: str) -> bool:
        """Whether a class is hidden."""
        return class_name in self.hide or (self.show is not None and class_name not in self.show)


@dataclass(frozen=True, slots=True)
class PrivacySettings:
    """What one camera's pictures may show.

    Attributes:
        pixelate: whose heads are hidden.
        zones: what counts for who is in a zone, by its name; of several zones the strictest.
        polygons: areas that are always hidden, in shares of the picture.
        scene: what is hidden by its class; None: nothing is.
        style: how polygons and classes are hidden.
    """

    pixelate: Pixelate = "everybody"
    zones: Mapping[str, Pixelate] = field(default_factory=dict)
    polygons: tuple[Polygon, ...] = ()
    scene: ScenePrivacy | None = None
    style: Style = "pixelate"

    def rule_for(self, facts: ObjectFacts | None) -> Pixelate:
        """What counts for an object; one that nothing is known of yet may be in any zone."""
        if facts is None:
            return _strictest([self.pixelate, *self.zones.values()])
        return _strictest(self.zones[zone] for zone in facts.zones if zone in self.zones) or self.pixelate


def is_known(facts: ObjectFacts | None) -> bool:
    """Whether an object is somebody who was recognised."""
    return facts is not None and facts.identity is not None and facts.identity.kind is FaceDecisionKind.MATCH


def make_public(result: FrameResult, picture: Frame, settings: PrivacySettings, *, person_class_id: int | None) -> PublicPicture:
    """A picture of about the moment of a result as it may leave the process; see `hidden_areas` and `hidden_scene`."""
    masks = []
    if settings.polygons:
        masks.append(covering_mask(settings.polygons, width=picture.width, height=picture.height))
    if settings.scene is not None:
        masks.append(hidden_scene(result, picture, settings.scene))
    heads = hidden_areas(result, picture, settings, person_class_id=person_class_id)
    return redact(picture.pixels_rgb, heads, [Cover(mask, settings.style) for mask in masks])


def hidden_scene(result: FrameResult, picture: Frame, settings: ScenePrivacy) -> Mask:
    """What is to be hidden by its class: (h, w), equal parts of the picture.

    The result's newest map says where that is. Around it, and along the rim of the picture, so is what it could have moved to
    since. Everything is hidden where there is no map, where it is too old or of pictures of another size, and where it does not
    know a class that is to be hidden.
    """
    mapped = result.scene
    if mapped is None:
        return _EVERYTHING
    scene, age_s = mapped.map, abs(picture.captured_s - mapped.captured_s)
    is_of_this_view = (scene.frame_width, scene.frame_height) == (result.frame.width, result.frame.height)
    if age_s > settings.most_age_s or not is_of_this_view or not settings.hide <= set(scene.classes):
        return _EVERYTHING
    hidden = mask_of(scene.labels, [index for index, name in enumerate(scene.classes) if settings.hides(name)])
    height, width = hidden.shape

    def elements(ratio: float) -> tuple[int, int]:
        """So many elements of the map to the side and up are at least a share of the picture's width."""
        return int(np.ceil(min(1, ratio) * width)), int(np.ceil(min(1, ratio * picture.width / picture.height) * height))

    around = _grown(hidden, elements(max(settings.margin_ratio, _LEAST_MARGIN_RATIO)))
    with_rim = np.pad(around, 1, constant_values=True)  # beyond the rim may be anything
    return _grown(with_rim, elements(settings.speed_ratio * age_s))[1:-1, 1:-1]


def _grown(mask: Mask, reach: tuple[int, int]) -> Mask:
    """A mask, and what is so many elements or less beside and above it."""
    kernel = np.ones((2 * reach[1] + 1, 2 * reach[0] + 1), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


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
