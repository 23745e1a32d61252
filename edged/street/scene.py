"""The drawn street: any frame of it, and the truth about that frame."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.street import geometry as place
from edged.street import surfaces
from edged.street.backdrop import Light, make_fixtures, make_light, paint_backdrop
from edged.street.blit import Rect, blend, warp
from edged.street.people import STANDING, WALK_POSES, draw_person, draw_rider
from edged.street.plan import CYCLE_S, FUTURE_CYCLES, PAST_CYCLES, Actor, CyclePlan, Kind, Leg, Traffic, View
from edged.street.sprites import Shadow, Sprite, make_shadow, tinted
from edged.street.vehicles import CRANK, GRIP, MOTOR_GRIP, MOTOR_PEDAL, MOTOR_SADDLE, PEDAL, SADDLE, draw_vehicle
from edged.types import Pixels
from edged.vision.label_maps import Labels

_SPRITES_KEPT = 256
_CYCLES_KEPT = 2 * (PAST_CYCLES + FUTURE_CYCLES + 1)
_LEVEL_STEP = 1.19
_NOISE_MARGIN = 32
_NOISE_SIGMA = 2.5
_HALF_OPAQUE = 128

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, eq=False)
class StreetTruth:
    """What a frame shows.

    Attributes:
        boxes: (N, 4) float32 xyxy, frame pixels, clipped to the picture; the whole object, hidden parts included.
        class_names: N names: person, bicycle, car, motorcycle, bus or truck.
        track_ids: (N,) int64, the same object has the same number in every frame.
        visible: (N,) float32, share of the object's pixels inside the picture and not hidden by something nearer.
    """

    boxes: NDArray[np.float32]
    class_names: tuple[str, ...]
    track_ids: NDArray[np.int64]
    visible: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.track_ids)


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """An actor (or its rider) in one frame; `x`, `y` is its ground point and `scale` that of its sprite, frame pixels."""

    track_id: int
    group: int
    class_name: str
    label: int
    sprite: Sprite
    shadow: Shadow
    x: float
    y: float
    scale: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        size = self.scale * self.sprite.pixels_per_metre
        x1, y1, x2, y2 = self.sprite.box_m
        return self.x + x1 * size, self.y + y1 * size, self.x + x2 * size, self.y + y2 * size


@dataclass(frozen=True, slots=True, eq=False)
class _Standing:
    """A fixture in the backdrop: `y` of its ground point, where it is, and (H, W) uint8 that is 255 where it hides."""

    label: int
    y: float
    rect: Rect
    solid: NDArray[np.uint8]


def check_street(seed: int, *, width: int, height: int, fps: float) -> None:
    """Raise a ValueError where no street can be drawn."""
    if seed < 0 or not (64 <= width <= 8192 and 36 <= height <= 8192) or not 0 < fps <= 1000:
        raise ValueError(
            f"street: expected seed >= 0, 64x36 to 8192x8192 pixels and fps above 0 up to 1000, "
            f"got seed {seed}, {width}x{height}, fps {fps}"
        )


class Street:
    """A street that goes on for ever; each frame is a pure function of seed, size, rate and index.

    Used by one thread at a time: it keeps the newest sprites and plans.

    Args:
        seed: which street, >= 0.
        width, height: of the frames, pixels; the scene is stretched to them, people are sized by the height.
        fps: frames per second of the scene.
        light: the weather; None: the seed's own.
        traffic: what drives in the lanes; None: mostly cars.

    Raises:
        ValueError: see `check_street`.
    """

    def __init__(
        self,
        seed: int,
        *,
        width: int = 640,
        height: int = 360,
        fps: float = 15.0,
        light: Light | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        check_street(seed, width=width, height=height, fps=fps)
        self.seed, self.width, self.height, self.fps = seed, width, height, fps
        self._scale_x, self._scale = width / place.DESIGN_WIDTH, height / place.DESIGN_HEIGHT
        self._picture = Rect(0, 0, width, height)
        self._light = light or make_light(seed)
        self._traffic = traffic or Traffic()
        self._backdrop, self._backdrop_labels, self._fixtures = self._make_backdrop()
        self._noise_up, self._noise_down = self._make_noise()
        self._sprites: OrderedDict[tuple[int, str, View, int, int], tuple[Sprite, Shadow]] = OrderedDict()
        self._plans: OrderedDict[int, tuple[Actor, ...]] = OrderedDict()

    def frame(self, index: int, *, only: Collection[int] | None = None) -> Pixels:
        """Draw frame `index` (from 0): (height, width, 3) uint8 RGB, the caller's own.

        Args:
            only: draw these track ids alone, for cutting somebody out; None: everybody.
        """
        pixels = self._backdrop.copy()
        placed = [one for one in self._placed(index) if only is None or one.track_id in only]
        drawn = [self._cast(pixels, one.shadow, x=one.x, y=one.y, scale=one.scale) for one in placed]
        waiting = list(self._fixtures)
        for one in placed:
            while waiting and waiting[0].y < one.y:
                self._redraw(pixels, waiting.pop(0), drawn)
            drawn.append(self._draw(pixels, one))
        for fixture in waiting:
            self._redraw(pixels, fixture, drawn)
        return self._add_noise(pixels, index)

    def truth(self, index: int) -> StreetTruth:
        """Everything that frame `index` shows, far things first."""
        placed = list(self._placed(index))
        visible = self._visible(placed)
        limit = np.array([self.width, self.height] * 2, np.float32)
        boxes = np.clip(np.array([one.box for one in placed], np.float32).reshape(-1, 4), 0, limit)
        return StreetTruth(
            boxes,
            tuple(one.class_name for one in placed),
            np.array([one.track_id for one in placed], np.int64),
            np.array(visible, np.float32),
        )

    def labels(self, index: int, *, only: Collection[int] | None = None) -> Labels:
        """What each pixel of frame `index` shows: (height, width) uint8, see `surfaces`, the caller's own.

        A pixel shows what covers at least half of it. Shadows are no things.

        Args:
            only: as for `frame`.
        """
        labels = self._backdrop_labels.copy()
        waiting = list(self._fixtures)
        for one in self._placed(index):
            if only is not None and one.track_id not in only:
                continue
            while waiting and waiting[0].y < one.y:
                self._label_fixture(labels, waiting.pop(0))
            rect, opacity = self._opacity(one)
            rect.of(labels)[opacity >= _HALF_OPAQUE] = one.label
        for fixture in waiting:
            self._label_fixture(labels, fixture)
        return labels

    def _actors(self, time_s: float) -> Iterator[tuple[Actor, Leg]]:
        now = int(time_s // CYCLE_S)
        for cycle in range(now - PAST_CYCLES, now + FUTURE_CYCLES + 1):
            for actor in _recall(self._plans, cycle, lambda cycle=cycle: self._plan(cycle), _CYCLES_KEPT):
                leg = actor.leg_at(time_s)
                if leg is not None:
                    yield actor, leg

    def _plan(self, cycle: int) -> tuple[Actor, ...]:
        return CyclePlan(self.seed, cycle, self._traffic).make()

    def _placed(self, index: int) -> Iterator[_Placed]:
        """Everybody in the picture, far ones first."""
        time_s = index / self.fps
        standing = [(*leg.at(time_s), actor, leg) for actor, leg in self._actors(time_s)]
        for x, y, actor, leg in sorted(standing, key=lambda entry: (entry[1], entry[2].track_id)):
            pose = STANDING if leg.is_still else 0
            if actor.cadence_hz and pose != STANDING:
                pose = int((time_s - actor.legs[0].start_s) * actor.cadence_hz * WALK_POSES) % WALK_POSES
            parts = [actor.kind.value]
            if actor.kind in (Kind.BICYCLE, Kind.MOTORCYCLE):
                parts.append("rider")
            for number, part in enumerate(parts):
                one = self._place(actor, part, number, view=leg.view, pose=pose, x=x, y=y)
                if self._is_inside(one.box):
                    yield one

    def _place(self, actor: Actor, part: str, number: int, *, view: View, pose: int, x: float, y: float) -> _Placed:
        pixels_per_metre = place.pixels_per_metre(y) * self._scale
        level = int(np.ceil(np.log(pixels_per_metre) / np.log(_LEVEL_STEP)))
        sprite, shadow = _recall(
            self._sprites,
            (actor.track_id, part, view, pose, level),
            lambda: self._draw_sprite(actor, part, view, pose, _LEVEL_STEP**level),
            _SPRITES_KEPT,
        )
        name = Kind.PERSON.value if part == "rider" else part
        scale = pixels_per_metre / sprite.pixels_per_metre
        return _Placed(
            actor.track_id + number,
            actor.track_id,
            name,
            surfaces.label_of(actor.kind),
            sprite,
            shadow,
            x * self._scale_x,
            y * self._scale,
            scale,
        )

    def _draw_sprite(self, actor: Actor, part: str, view: View, pose: int, pixels_per_metre: float) -> tuple[Sprite, Shadow]:
        if part == Kind.PERSON.value:
            sprite = draw_person(actor.look, view, pose, pixels_per_metre=pixels_per_metre)
        elif part == "rider":
            saddle, grip, pedal, crank = SADDLE, GRIP, PEDAL, CRANK
            if actor.kind is Kind.MOTORCYCLE:
                saddle, grip, pedal, crank = MOTOR_SADDLE, MOTOR_GRIP, MOTOR_PEDAL, 0.0
            sprite = draw_rider(
                actor.look,
                view,
                pose,
                pixels_per_metre=pixels_per_metre,
                saddle=saddle,
                grip=grip,
                pedal=pedal,
                crank=crank,
                has_helmet=actor.kind is Kind.MOTORCYCLE or actor.look % 2 == 0,
            )
        else:
            sprite = draw_vehicle(actor.kind, actor.look, view, pose, pixels_per_metre=pixels_per_metre)
        shadow = make_shadow(sprite, lean=self._light.shadow_lean, opacity=self._light.shadow_opacity)
        return tinted(sprite, self._light.tint), shadow

    def _is_inside(self, box: tuple[float, float, float, float]) -> bool:
        return box[0] < self.width - 1 and box[2] > 1 and box[1] < self.height - 1 and box[3] > 1

    def _make_backdrop(self) -> tuple[Pixels, Labels, list[_Standing]]:
        """Everything that stands still, what it is, and which of it can hide something."""
        pixels, labels = paint_backdrop(self.seed, sky=self._light.sky, width=self.width, height=self.height)
        pixels = np.clip(pixels * np.array(self._light.tint), 0, 255).astype(np.uint8)
        fixtures = make_fixtures(self.seed, scale=self._scale)
        points = [(fixture.x * self._scale_x, fixture.y * self._scale) for fixture in fixtures]
        for fixture, (x, y) in zip(fixtures, points, strict=True):
            shadow = make_shadow(fixture.sprite, lean=self._light.shadow_lean, opacity=self._light.shadow_opacity)
            self._cast(pixels, shadow, x=x, y=y, scale=1.0)
        standing = []
        for fixture, (x, y) in zip(fixtures, points, strict=True):
            lit = tinted(fixture.sprite, self._light.tint)
            rect, warped = warp(lit.pixels, lit.origin, x=x, y=y, scale=1.0, picture=self._picture)
            blend(rect.of(pixels), warped)
            solid = np.zeros((self.height, self.width), np.uint8)
            rect.of(solid)[:] = np.where(warped[..., 3] >= _HALF_OPAQUE, 255, 0)
            standing.append(_Standing(fixture.label, y, rect, solid))
            self._label_fixture(labels, standing[-1])
        return pixels, labels, standing

    def _make_noise(self) -> tuple[Pixels, Pixels]:
        rng = np.random.default_rng([self.seed, 104])
        size = (self.height + _NOISE_MARGIN, self.width + _NOISE_MARGIN, 1)
        noise = rng.normal(0, _NOISE_SIGMA, size) + rng.normal(0, 0.6 * _NOISE_SIGMA, (*size[:2], 3))
        return np.clip(noise, 0, 40).astype(np.uint8), np.clip(-noise, 0, 40).astype(np.uint8)

    def _add_noise(self, pixels: Pixels, index: int) -> Pixels:
        draw = (index * 2654435761 + self.seed * 40503) & 0xFFFFFFFF
        x, y = (draw >> 8) % _NOISE_MARGIN, (draw >> 20) % _NOISE_MARGIN
        window = np.s_[y : y + self.height, x : x + self.width]
        cv2.add(pixels, self._noise_up[window], dst=pixels)
        return cv2.subtract(pixels, self._noise_down[window], dst=pixels)

    def _cast(self, pixels: Pixels, shadow: Shadow, *, x: float, y: float, scale: float) -> Rect:
        """Darken the ground by a shadow; where that was."""
        zoom = scale * shadow.zoom
        rect, keep = warp(shadow.keep, shadow.origin, x=x, y=y, scale=zoom, picture=self._picture, outside=255)
        if not rect.is_empty:
            region = rect.of(pixels)
            cv2.multiply(region, cv2.cvtColor(keep, cv2.COLOR_GRAY2RGB), dst=region, scale=1 / 255)
        return rect

    def _draw(self, pixels: Pixels, one: _Placed) -> Rect:
        rect, warped = warp(one.sprite.pixels, one.sprite.origin, x=one.x, y=one.y, scale=one.scale, picture=self._picture)
        if not rect.is_empty:
            blend(rect.of(pixels), warped)
        return rect

    def _redraw(self, pixels: Pixels, fixture: _Standing, drawn: list[Rect]) -> None:
        """Put a fixture back over what was drawn behind it; drawn again, the backdrop it stands in stays as it is."""
        for rect in drawn:
            part = rect.cut(fixture.rect)
            if not part.is_empty:
                cv2.copyTo(part.of(self._backdrop), part.of(fixture.solid), part.of(pixels))

    def _label_fixture(self, labels: Labels, fixture: _Standing) -> None:
        fixture.rect.of(labels)[fixture.rect.of(fixture.solid) > 0] = fixture.label

    def _opacity(self, one: _Placed) -> tuple[Rect, NDArray[np.uint8]]:
        """Where somebody is in the picture, and how much of each pixel there they cover, times 255."""
        solid = np.ascontiguousarray(one.sprite.pixels[..., 3])
        return warp(solid, one.sprite.origin, x=one.x, y=one.y, scale=one.scale, picture=self._picture)

    def _visible(self, placed: list[_Placed]) -> list[float]:
        """Share of each one's pixels that no nearer one, and no edge of the picture, hides."""
        hidden_by = np.zeros((self.height, self.width), np.int64)  # group of the nearest one drawn so far, from the front
        waiting = list(self._fixtures)
        shares: list[float] = []
        for one in reversed(placed):
            while waiting and waiting[-1].y >= one.y:
                fixture = waiting.pop()
                region = fixture.rect.of(hidden_by)
                region[(fixture.rect.of(fixture.solid) > 0) & (region == 0)] = -1
            rect, opacity = self._opacity(one)
            region = rect.of(hidden_by)
            mask = opacity >= _HALF_OPAQUE
            seen = np.count_nonzero(mask & ((region == 0) | (region == one.group + 1)))
            region[mask & (region == 0)] = one.group + 1
            shares.append(min(1.0, seen / max(1.0, np.count_nonzero(one.sprite.pixels[..., 3] >= _HALF_OPAQUE) * one.scale**2)))
        return shares[::-1]


def _recall(kept: OrderedDict[_Key, _Value], key: _Key, make: Callable[[], _Value], limit: int) -> _Value:
    """The value kept under a key, made first where it is not; the least recently used one goes."""
    if key not in kept:
        kept[key] = make()
        if len(kept) > limit:
            kept.popitem(last=False)
    else:
        kept.move_to_end(key)
    return kept[key]
