"""People, walking, standing and riding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edged.street.plan import View
from edged.street.sprites import Canvas, Colour, Sprite, darker

WALK_POSES = 12
STANDING = -1

_SKIN: tuple[Colour, ...] = ((246, 213, 188), (232, 190, 160), (205, 152, 117), (160, 108, 76), (112, 74, 52), (78, 52, 40))
_HAIR: tuple[Colour, ...] = ((38, 28, 24), (66, 44, 30), (110, 72, 42), (190, 152, 92), (150, 150, 152), (22, 22, 26))
_TOPS: tuple[Colour, ...] = (
    (178, 40, 44),
    (36, 74, 140),
    (230, 230, 226),
    (48, 52, 58),
    (214, 170, 46),
    (52, 118, 76),
    (126, 72, 132),
    (220, 120, 60),
    (112, 142, 172),
    (150, 130, 104),
    (28, 34, 60),
    (196, 140, 150),
)
_BOTTOMS: tuple[Colour, ...] = ((44, 58, 92), (34, 36, 42), (92, 82, 68), (70, 92, 128), (150, 136, 112), (58, 64, 58))
_SHOES: tuple[Colour, ...] = ((30, 28, 28), (225, 225, 222), (96, 62, 40), (170, 44, 44))


@dataclass(frozen=True, slots=True)
class Clothes:
    """What somebody looks like; drawn from the seed of an actor's look."""

    height_m: float
    girth: float
    skin: Colour
    hair: Colour
    top: Colour
    bottom: Colour
    shoes: Colour
    bag: Colour
    has_long_hair: bool
    has_skirt: bool
    has_short_sleeves: bool
    has_bag: bool
    has_hat: bool


def make_clothes(look: int) -> Clothes:
    """Dress somebody."""
    rng = np.random.default_rng(look)

    def pick(colours: tuple[Colour, ...], lightest: float = 1.12) -> Colour:
        return darker(colours[int(rng.integers(len(colours)))], float(rng.uniform(0.85, lightest)))

    return Clothes(
        height_m=float(rng.uniform(1.55, 1.9)),
        girth=float(rng.uniform(0.9, 1.25)),
        skin=pick(_SKIN, 1.0),
        hair=pick(_HAIR),
        top=pick(_TOPS),
        bottom=pick(_BOTTOMS),
        shoes=pick(_SHOES),
        bag=pick(_TOPS),
        has_long_hair=bool(rng.random() < 0.4),
        has_skirt=bool(rng.random() < 0.2),
        has_short_sleeves=bool(rng.random() < 0.4),
        has_bag=bool(rng.random() < 0.45),
        has_hat=bool(rng.random() < 0.15),
    )


def draw_person(look: int, view: View, pose: int, *, pixels_per_metre: float) -> Sprite:
    """Draw somebody in one of `WALK_POSES` steps or STANDING."""
    clothes = make_clothes(look)
    h = clothes.height_m
    canvas = Canvas(left=0.36 * h, right=0.36 * h, top=1.04 * h, pixels_per_metre=pixels_per_metre)
    turn = 2 * math.pi * pose / WALK_POSES
    if view in (View.LEFT, View.RIGHT):
        _draw_side(canvas, clothes, turn, is_standing=pose == STANDING)
    else:
        _draw_front(canvas, clothes, turn, is_standing=pose == STANDING, is_back=view is View.AWAY)
    return canvas.finish(is_flipped=view is View.LEFT)


def _end(start: tuple[float, float], length: float, angle: float) -> tuple[float, float]:
    """The end of a limb that hangs down and is swung forward by `angle`."""
    return start[0] + length * math.sin(angle), start[1] - length * math.cos(angle)


def _leg_angles(turn: float, *, is_standing: bool) -> tuple[float, float]:
    """Thigh and shin, radians forward of straight down; the knee bends while the leg swings forward."""
    if is_standing:
        return 0.03, 0.0
    thigh = 0.06 + 0.44 * math.sin(turn)
    return thigh, thigh - 0.08 - 0.8 * max(0.0, math.cos(turn))


def _draw_side(canvas: Canvas, clothes: Clothes, turn: float, *, is_standing: bool) -> None:
    h, girth = clothes.height_m, clothes.girth
    legs = [_leg_angles(turn + shift, is_standing=is_standing) for shift in (math.pi, 0.0)]
    reach = max(0.235 * h * math.cos(thigh) + 0.235 * h * math.cos(shin) for thigh, shin in legs)
    hip = (0.0, reach + 0.035 * h)
    neck = (hip[0] + 0.02 * h, hip[1] + 0.30 * h)
    arm_swing = 0.0 if is_standing else 0.5 * math.sin(turn)
    _draw_arm(canvas, clothes, (neck[0], neck[1] - 0.03 * h), arm_swing, tone=0.72)
    for (thigh, shin), tone in zip(legs, (0.74, 1.0), strict=True):
        _draw_leg(canvas, clothes, hip, thigh, shin, tone=tone)
    if clothes.has_bag:
        back = (neck[0] - 0.1 * h * girth, neck[1] - 0.13 * h)
        canvas.ellipse(back, 0.06 * h, 0.105 * h, clothes.bag)
    _draw_torso(canvas, clothes, hip, neck, half_width=0.068 * h * girth)
    head = (neck[0] + 0.015 * h, neck[1] + 0.105 * h)
    canvas.limb(neck, head, 0.03 * h, 0.03 * h, darker(clothes.skin, 0.85))
    _draw_head(canvas, clothes, head, facing=1.0)
    _draw_arm(canvas, clothes, (neck[0], neck[1] - 0.03 * h), -arm_swing, tone=1.0)


def _draw_leg(canvas: Canvas, clothes: Clothes, hip: tuple[float, float], thigh: float, shin: float, *, tone: float) -> None:
    h, girth = clothes.height_m, clothes.girth
    knee = _end(hip, 0.235 * h, thigh)
    ankle = _end(knee, 0.235 * h, shin)
    toe = 0.35 * min(0.0, shin + 0.1)
    upper = darker(clothes.bottom, tone)
    lower = darker(clothes.skin, tone) if clothes.has_skirt else upper
    canvas.limb(knee, ankle, 0.040 * h, 0.026 * h, lower)
    canvas.limb(hip, knee, 0.058 * h * girth, 0.042 * h, upper)
    sole = ankle[1] - 0.035 * h
    shoe = [
        (ankle[0] - 0.04 * h, sole),
        (ankle[0] + 0.10 * h, sole + toe * h * 0.2),
        (ankle[0] + 0.09 * h, sole + 0.03 * h),
        (ankle[0] + 0.02 * h, ankle[1] + 0.02 * h),
        (ankle[0] - 0.035 * h, ankle[1] + 0.015 * h),
    ]
    canvas.polygon(shoe, darker(clothes.shoes, tone))


def _draw_arm(canvas: Canvas, clothes: Clothes, shoulder: tuple[float, float], swing: float, *, tone: float) -> None:
    h = clothes.height_m
    elbow = _end(shoulder, 0.165 * h, swing)
    hand = _end(elbow, 0.15 * h, swing + 0.25)
    sleeve = darker(clothes.top, tone * 0.9)
    forearm = darker(clothes.skin, tone) if clothes.has_short_sleeves else sleeve
    canvas.limb(elbow, hand, 0.027 * h, 0.02 * h, forearm)
    canvas.ellipse(hand, 0.024 * h, 0.026 * h, darker(clothes.skin, tone))
    canvas.limb(shoulder, elbow, 0.036 * h, 0.029 * h, sleeve)


def _draw_torso(
    canvas: Canvas, clothes: Clothes, hip: tuple[float, float], neck: tuple[float, float], *, half_width: float
) -> None:
    h = clothes.height_m
    low = hip[1] - 0.03 * h
    if clothes.has_skirt:
        hem = hip[1] - 0.19 * h
        skirt = [(hip[0] - half_width, hip[1] + 0.03 * h), (hip[0] + half_width, hip[1] + 0.03 * h)]
        canvas.polygon([*skirt, (hip[0] + 1.5 * half_width, hem), (hip[0] - 1.5 * half_width, hem)], clothes.bottom)
    torso = [
        (hip[0] - 0.92 * half_width, low),
        (hip[0] + 0.92 * half_width, low),
        (neck[0] + 1.08 * half_width, neck[1] - 0.09 * h),
        (neck[0] + 0.72 * half_width, neck[1] + 0.01 * h),
        (neck[0] - 0.72 * half_width, neck[1] + 0.01 * h),
        (neck[0] - 1.12 * half_width, neck[1] - 0.09 * h),
    ]
    canvas.polygon(torso, clothes.top, rounds=2)
    canvas.stroke(
        [(hip[0] - 0.85 * half_width, low + 0.012 * h), (hip[0] + 0.85 * half_width, low + 0.012 * h)],
        0.014 * h,
        darker(clothes.top, 0.7),
    )


def _draw_head(canvas: Canvas, clothes: Clothes, head: tuple[float, float], *, facing: float) -> None:
    """Draw a head that faces right (1), the camera (0) or away (-1)."""
    h = clothes.height_m
    x, y = head
    hair = clothes.hair
    if clothes.has_long_hair:
        canvas.ellipse((x - 0.02 * h * max(0.0, facing), y - 0.025 * h), 0.066 * h, 0.092 * h, hair)
    canvas.ellipse((x - 0.008 * h * max(0.0, facing), y + 0.012 * h), 0.060 * h, 0.070 * h, hair)
    if facing >= 0:
        canvas.ellipse((x + 0.014 * h * facing, y - 0.012 * h), 0.049 * h, 0.060 * h, clothes.skin)
        if facing > 0:
            canvas.ellipse((x + 0.062 * h, y - 0.012 * h), 0.012 * h, 0.014 * h, clothes.skin)
        for eye in (0.036,) if facing > 0 else (-0.019, 0.019):
            canvas.ellipse((x + eye * h, y - 0.002 * h), 0.007 * h, 0.008 * h, (40, 30, 30))
        fringe = [
            (x - 0.05 * h, y + 0.01 * h),
            (x - 0.04 * h, y + 0.062 * h),
            (x + 0.03 * h, y + 0.066 * h),
            (x + 0.055 * h, y + 0.03 * h),
        ]
        canvas.polygon(fringe, hair, rounds=1)
    if clothes.has_hat:
        canvas.polygon(
            [
                (x - 0.066 * h, y + 0.02 * h),
                (x - 0.055 * h, y + 0.08 * h),
                (x + 0.05 * h, y + 0.08 * h),
                (x + 0.066 * h, y + 0.02 * h),
            ],
            clothes.bag,
            rounds=1,
        )
        canvas.stroke(
            [(x - 0.06 * h, y + 0.028 * h), (x + (0.1 if facing > 0 else 0.06) * h, y + 0.028 * h)],
            0.02 * h,
            darker(clothes.bag, 0.75),
        )


def _draw_front(canvas: Canvas, clothes: Clothes, turn: float, *, is_standing: bool, is_back: bool) -> None:
    h, girth = clothes.height_m, clothes.girth
    step = 0.0 if is_standing else math.sin(turn)
    hip_y = 0.505 * h
    neck = (0.0, hip_y + 0.30 * h)
    half_width = 0.098 * h * girth
    for side in (-1.0, 1.0):
        lift = max(0.0, step * side) * 0.075 * h
        _draw_front_leg(canvas, clothes, side, hip_y, lift)
    for side in (-1.0, 1.0):
        _draw_front_arm(canvas, clothes, side, (side * half_width, neck[1] - 0.035 * h), swing=-step * side)
    _draw_torso(canvas, clothes, (0.0, hip_y), neck, half_width=half_width)
    if clothes.has_bag and is_back:
        canvas.polygon(
            [
                (-0.08 * h, hip_y + 0.08 * h),
                (0.08 * h, hip_y + 0.08 * h),
                (0.07 * h, neck[1] - 0.02 * h),
                (-0.07 * h, neck[1] - 0.02 * h),
            ],
            clothes.bag,
            rounds=1,
        )
    head = (0.0, neck[1] + 0.105 * h)
    canvas.limb(neck, head, 0.03 * h, 0.03 * h, darker(clothes.skin, 0.85))
    _draw_head(canvas, clothes, head, facing=-1.0 if is_back else 0.0)


def _draw_front_leg(canvas: Canvas, clothes: Clothes, side: float, hip_y: float, lift: float) -> None:
    h, girth = clothes.height_m, clothes.girth
    hip = (side * 0.048 * h * girth, hip_y)
    knee = (side * 0.052 * h * girth, 0.275 * h + 0.7 * lift)
    ankle = (side * 0.05 * h, 0.045 * h + lift)
    tone = 1.0 - 2.2 * lift / h
    upper = darker(clothes.bottom, tone)
    canvas.limb(knee, ankle, 0.040 * h, 0.027 * h, darker(clothes.skin, tone) if clothes.has_skirt else upper)
    canvas.limb(hip, knee, 0.056 * h * girth, 0.043 * h, upper)
    shoe = [
        (ankle[0] - 0.034 * h, lift),
        (ankle[0] + 0.034 * h, lift),
        (ankle[0] + 0.028 * h, lift + 0.05 * h),
        (ankle[0] - 0.028 * h, lift + 0.05 * h),
    ]
    canvas.polygon(shoe, darker(clothes.shoes, tone))


def _draw_front_arm(canvas: Canvas, clothes: Clothes, side: float, shoulder: tuple[float, float], *, swing: float) -> None:
    h = clothes.height_m
    elbow = (shoulder[0] + side * 0.022 * h, shoulder[1] - 0.16 * h + 0.012 * h * swing)
    hand = (elbow[0] - side * 0.004 * h, elbow[1] - 0.145 * h + 0.035 * h * swing)
    sleeve = darker(clothes.top, 0.88)
    canvas.limb(elbow, hand, 0.027 * h, 0.021 * h, clothes.skin if clothes.has_short_sleeves else sleeve)
    canvas.ellipse(hand, 0.024 * h, 0.027 * h, clothes.skin)
    canvas.limb(shoulder, elbow, 0.036 * h, 0.030 * h, sleeve)


def draw_rider(
    look: int,
    view: View,
    pose: int,
    *,
    pixels_per_metre: float,
    saddle: tuple[float, float],
    grip: tuple[float, float],
    pedal: tuple[float, float],
    crank: float,
    has_helmet: bool,
) -> Sprite:
    """Draw somebody who sits on a saddle and holds a grip, both in metres from the vehicle's ground point.

    Args:
        look, view, pose, pixels_per_metre: as in `draw_person`; `pose` turns the pedals.
        saddle, grip, pedal: where hip, hands and feet belong.
        crank: radius on which the feet turn around `pedal`; 0 keeps them still.
        has_helmet: a helmet instead of hair.
    """
    clothes = make_clothes(look)
    h = 1.72
    canvas = Canvas(left=1.1, right=1.1, top=2.05, pixels_per_metre=pixels_per_metre)
    turn = -2 * math.pi * pose / WALK_POSES
    hip = (saddle[0], saddle[1] + 0.06)
    lean = 0.22 if crank else 0.12
    neck = (hip[0] + lean * h, hip[1] + 0.29 * h)
    for shift, tone in ((math.pi, 0.72), (0.0, 1.0)):
        if tone == 1.0:
            _draw_rider_torso(canvas, clothes, hip, neck)
        foot = (pedal[0] + crank * math.cos(turn + shift), pedal[1] + crank * math.sin(turn + shift))
        knee = _bend(hip, foot, 0.25 * h, 0.27 * h, side=1.0)
        colour = darker(clothes.bottom, tone)
        canvas.limb(knee, foot, 0.038 * h, 0.026 * h, colour)
        canvas.limb(hip, knee, 0.056 * h, 0.042 * h, colour)
        canvas.limb((foot[0] - 0.05, foot[1] - 0.02), (foot[0] + 0.12, foot[1] - 0.03), 0.035, 0.03, darker(clothes.shoes, tone))
        shoulder = (neck[0], neck[1] - 0.03 * h)
        elbow = _bend(shoulder, grip, 0.165 * h, 0.165 * h, side=-1.0)
        sleeve = darker(clothes.top, 0.88 * tone)
        canvas.limb(elbow, grip, 0.027 * h, 0.022 * h, darker(clothes.skin, tone) if clothes.has_short_sleeves else sleeve)
        canvas.limb(shoulder, elbow, 0.036 * h, 0.028 * h, sleeve)
        canvas.ellipse(grip, 0.045, 0.045, darker(clothes.skin, tone))
    head = (neck[0] + 0.04 * h, neck[1] + 0.1 * h)
    canvas.limb(neck, head, 0.03 * h, 0.03 * h, darker(clothes.skin, 0.85))
    _draw_head(canvas, clothes, head, facing=1.0)
    if has_helmet:
        canvas.polygon(
            [
                (head[0] - 0.13, head[1] + 0.02),
                (head[0] - 0.1, head[1] + 0.13),
                (head[0] + 0.06, head[1] + 0.14),
                (head[0] + 0.14, head[1] + 0.03),
            ],
            clothes.bag,
            rounds=2,
        )
    return canvas.finish(is_flipped=view is View.LEFT)


def _draw_rider_torso(canvas: Canvas, clothes: Clothes, hip: tuple[float, float], neck: tuple[float, float]) -> None:
    canvas.limb(hip, (neck[0] - 0.02, neck[1] - 0.06), 0.12 * clothes.girth, 0.125 * clothes.girth, clothes.top)
    if clothes.has_bag:
        middle = ((hip[0] + neck[0]) / 2 - 0.16, (hip[1] + neck[1]) / 2 + 0.1)
        canvas.ellipse(middle, 0.12, 0.17, clothes.bag)


def _bend(
    start: tuple[float, float], end: tuple[float, float], first: float, second: float, *, side: float
) -> tuple[float, float]:
    """The joint of two limbs between two points, bent to one side; stretched straight where they cannot reach."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    gap = min(math.hypot(dx, dy), 0.999 * (first + second))
    along = (first**2 - second**2 + gap**2) / (2 * gap)
    off = side * math.sqrt(max(0.0, first**2 - along**2))
    length = math.hypot(dx, dy)
    return start[0] + (along * dx - off * dy) / length, start[1] + (along * dy + off * dx) / length
