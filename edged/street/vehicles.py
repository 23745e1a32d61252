"""Cars, buses, trucks, bicycles and motorcycles, seen from the side."""

from __future__ import annotations

import math

import numpy as np

from edged.street.people import WALK_POSES
from edged.street.plan import Kind, View
from edged.street.sprites import Canvas, Colour, Sprite, darker

_PAINTS: tuple[Colour, ...] = (
    (196, 198, 202),
    (236, 236, 234),
    (44, 46, 52),
    (110, 114, 120),
    (150, 28, 32),
    (30, 62, 120),
    (46, 88, 66),
    (196, 150, 48),
    (94, 130, 168),
    (118, 84, 62),
)
_GLASS: Colour = (52, 66, 78)
_TYRE: Colour = (28, 28, 30)
_RIM: Colour = (168, 170, 174)
_CHASSIS: Colour = (34, 34, 38)

# Outlines from the rear (-) to the front (+), metres; first the body, then the side windows.
_CAR_BODIES: tuple[tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]], ...] = (
    (  # saloon
        (
            (-2.15, 0.3),
            (-2.18, 0.78),
            (-2.0, 0.96),
            (-1.4, 1.0),
            (-0.85, 1.42),
            (0.25, 1.45),
            (0.95, 1.0),
            (1.9, 0.86),
            (2.14, 0.66),
            (2.12, 0.28),
        ),
        ((-1.2, 0.98), (-0.75, 1.33), (0.2, 1.35), (0.78, 0.98)),
    ),
    (  # hatchback
        (
            (-1.95, 0.3),
            (-2.0, 0.85),
            (-1.85, 1.05),
            (-1.5, 1.44),
            (-0.9, 1.52),
            (0.35, 1.5),
            (1.05, 1.05),
            (1.75, 0.92),
            (1.98, 0.68),
            (1.95, 0.28),
        ),
        ((-1.6, 1.02), (-1.3, 1.39), (0.28, 1.4), (0.88, 1.02)),
    ),
    (  # estate, tall
        (
            (-2.15, 0.34),
            (-2.2, 1.0),
            (-2.05, 1.55),
            (-1.6, 1.68),
            (0.45, 1.66),
            (1.1, 1.15),
            (1.95, 1.02),
            (2.2, 0.74),
            (2.16, 0.32),
        ),
        ((-1.9, 1.12), (-1.75, 1.54), (0.4, 1.55), (0.92, 1.12)),
    ),
)

SADDLE, GRIP, PEDAL, CRANK = (-0.22, 0.94), (0.42, 1.02), (-0.02, 0.3), 0.17
MOTOR_SADDLE, MOTOR_GRIP, MOTOR_PEDAL = (-0.22, 0.78), (0.45, 1.02), (0.08, 0.36)


def draw_vehicle(kind: Kind, look: int, view: View, pose: int, *, pixels_per_metre: float) -> Sprite:
    """Draw a vehicle without its rider; `pose` turns what turns."""
    rng = np.random.default_rng(look)
    paint = darker(_PAINTS[int(rng.integers(len(_PAINTS)))], float(rng.uniform(0.9, 1.08)))
    variant = int(rng.integers(len(_CAR_BODIES)))
    half, top = {
        Kind.CAR: (2.4, 1.8),
        Kind.BUS: (4.0, 3.0),
        Kind.TRUCK: (3.1, 2.9),
        Kind.BICYCLE: (1.1, 1.3),
        Kind.MOTORCYCLE: (1.2, 1.4),
    }[kind]
    canvas = Canvas(left=half, right=half, top=top, pixels_per_metre=pixels_per_metre)
    if kind is Kind.CAR:
        _draw_car(canvas, paint, variant)
    elif kind is Kind.BUS:
        _draw_bus(canvas, paint)
    elif kind is Kind.TRUCK:
        _draw_truck(canvas, paint, box=darker(_PAINTS[(look // 7) % 2], 1.0))
    elif kind is Kind.BICYCLE:
        _draw_bicycle(canvas, paint, turn=-2 * math.pi * pose / WALK_POSES)
    else:
        _draw_motorcycle(canvas, paint)
    return canvas.finish(is_flipped=view is View.LEFT, shade=0.22)


def _draw_wheel(canvas: Canvas, x: float, radius: float) -> None:
    canvas.ellipse((x, radius), radius, radius, _TYRE)
    canvas.ellipse((x, radius), 0.62 * radius, 0.62 * radius, _RIM)
    for spoke in range(5):
        angle = 2 * math.pi * spoke / 5 + 0.3
        canvas.stroke(
            [(x, radius), (x + 0.6 * radius * math.cos(angle), radius + 0.6 * radius * math.sin(angle))], 0.05, darker(_RIM, 0.55)
        )
    canvas.ellipse((x, radius), 0.14 * radius, 0.14 * radius, darker(_RIM, 0.6))


def _draw_car(canvas: Canvas, paint: Colour, variant: int) -> None:
    body, glass = _CAR_BODIES[variant]
    rear, front = body[0][0], body[-1][0]
    belt = glass[0][1]
    canvas.polygon([(rear + 0.15, 0.2), (front - 0.15, 0.2), (front - 0.1, 0.5), (rear + 0.1, 0.5)], _CHASSIS)
    canvas.polygon(body, paint, rounds=2)
    canvas.polygon(
        [(rear + 0.02, 0.3), (front - 0.02, 0.3), (front - 0.02, 0.48), (rear + 0.02, 0.48)], darker(paint, 0.78), rounds=1
    )
    canvas.stroke([(rear + 0.1, belt - 0.12), (front - 0.25, belt - 0.2)], 0.035, darker(paint, 1.22))
    canvas.polygon(glass, _GLASS, rounds=1)
    low, high = glass[0][1], max(y for _, y in glass)
    canvas.polygon([(-0.15, low + 0.03), (0.1, high - 0.04), (0.24, high - 0.04), (0.02, low + 0.03)], darker(_GLASS, 1.7))
    for pillar in (-0.42, 0.42 if variant == 0 else 0.34):
        canvas.stroke([(pillar, low - 0.02), (pillar, high + 0.02)], 0.07, paint)
        canvas.stroke([(pillar, 0.42), (pillar, low - 0.03)], 0.025, darker(paint, 0.62))
        canvas.stroke([(pillar - 0.25, belt - 0.2), (pillar - 0.1, belt - 0.2)], 0.035, darker(paint, 0.6))
    for x in (-1.3, 1.32):
        canvas.ellipse((x, 0.36), 0.41, 0.41, _CHASSIS)
        _draw_wheel(canvas, x, 0.32)
    canvas.ellipse((front - 0.12, 0.7), 0.14, 0.085, (255, 248, 214))
    canvas.ellipse((rear + 0.06, 0.82), 0.09, 0.11, (196, 22, 24))
    canvas.ellipse((0.62, belt + 0.06), 0.09, 0.06, darker(paint, 0.8))


def _draw_bus(canvas: Canvas, paint: Colour) -> None:
    canvas.polygon([(-3.8, 0.32), (-3.8, 2.8), (-3.6, 2.88), (3.5, 2.88), (3.78, 2.6), (3.8, 0.32)], paint, rounds=1)
    canvas.polygon([(-3.78, 0.32), (3.78, 0.32), (3.78, 0.75), (-3.78, 0.75)], darker(paint, 0.7))
    canvas.stroke([(-3.7, 1.18), (3.7, 1.18)], 0.1, darker(paint, 1.3))
    canvas.polygon([(-3.6, 1.42), (-3.6, 2.42), (3.76, 2.42), (3.78, 1.3), (3.2, 1.3), (3.2, 1.42)], _GLASS)
    for x in np.arange(-2.5, 3.3, 1.12):
        canvas.stroke([(x, 1.42), (x, 2.42)], 0.08, darker(paint, 0.6))
        canvas.polygon([(x + 0.2, 1.5), (x + 0.55, 2.36), (x + 0.72, 2.36), (x + 0.37, 1.5)], darker(_GLASS, 1.5))
    canvas.polygon([(2.2, 0.42), (2.2, 2.4), (3.05, 2.4), (3.05, 0.42)], darker(_GLASS, 0.8))
    canvas.stroke([(2.62, 0.45), (2.62, 2.4)], 0.06, darker(paint, 0.8))
    canvas.polygon([(2.6, 2.52), (2.6, 2.78), (3.6, 2.78), (3.7, 2.52)], (240, 170, 40))
    for x in (-2.3, 1.6):
        canvas.ellipse((x, 0.5), 0.56, 0.52, _CHASSIS)
        _draw_wheel(canvas, x, 0.46)
    canvas.ellipse((3.68, 0.72), 0.1, 0.14, (255, 248, 214))
    canvas.ellipse((-3.74, 0.95), 0.07, 0.2, (196, 22, 24))


def _draw_truck(canvas: Canvas, paint: Colour, *, box: Colour) -> None:
    canvas.polygon([(-2.8, 0.45), (2.7, 0.45), (2.7, 0.7), (-2.8, 0.7)], _CHASSIS)
    canvas.polygon([(-2.9, 0.7), (-2.9, 2.75), (1.1, 2.75), (1.1, 0.7)], box)
    canvas.polygon([(-2.9, 0.7), (1.1, 0.7), (1.1, 0.85), (-2.9, 0.85)], darker(box, 0.7))
    for x in np.arange(-2.3, 1.0, 0.66):
        canvas.stroke([(x, 0.9), (x, 2.7)], 0.03, darker(box, 0.86))
    canvas.polygon([(-2.0, 1.5), (0.2, 1.5), (0.3, 1.95), (-2.0, 1.95)], paint)
    canvas.polygon([(1.2, 0.4), (1.2, 2.2), (1.5, 2.34), (2.15, 2.3), (2.6, 1.4), (2.86, 1.2), (2.88, 0.4)], paint, rounds=1)
    canvas.polygon([(1.5, 1.38), (1.5, 2.06), (2.08, 2.06), (2.42, 1.38)], _GLASS, rounds=1)
    canvas.stroke([(1.42, 0.5), (1.42, 2.1)], 0.03, darker(paint, 0.6))
    canvas.polygon([(2.55, 0.4), (2.55, 0.6), (2.92, 0.6), (2.92, 0.4)], _CHASSIS)
    for x in (-1.8, 1.95):
        canvas.ellipse((x, 0.48), 0.54, 0.5, _CHASSIS)
        _draw_wheel(canvas, x, 0.44)
    canvas.ellipse((2.8, 0.82), 0.09, 0.13, (255, 248, 214))
    canvas.ellipse((-2.86, 0.8), 0.06, 0.1, (196, 22, 24))


def _draw_bicycle(canvas: Canvas, paint: Colour, *, turn: float) -> None:
    rear, front, crank = (-0.53, 0.34), (0.55, 0.34), (PEDAL[0], PEDAL[1])
    for hub in (rear, front):
        for spoke in range(4):
            angle = turn + math.pi * spoke / 4
            dx, dy = 0.31 * math.cos(angle), 0.31 * math.sin(angle)
            canvas.stroke([(hub[0] - dx, hub[1] - dy), (hub[0] + dx, hub[1] + dy)], 0.012, (120, 120, 124))
        canvas.ring(hub, 0.315, 0.05, (26, 26, 28))
    seat, head = (-0.2, 0.84), (0.36, 0.84)
    canvas.stroke([rear, seat, head, crank, seat], 0.055, paint)
    canvas.stroke([rear, crank], 0.045, paint)
    canvas.stroke([front, head, (0.33, 1.0), (GRIP[0], GRIP[1])], 0.05, darker(paint, 0.8))
    canvas.stroke([(-0.34, 0.92), (-0.1, 0.92)], 0.07, (24, 22, 22))
    canvas.ring(crank, 0.09, 0.03, (70, 70, 74))
    dx, dy = CRANK * math.cos(turn), CRANK * math.sin(turn)
    canvas.stroke([(crank[0] - dx, crank[1] - dy), (crank[0] + dx, crank[1] + dy)], 0.035, (60, 60, 62))


def _draw_motorcycle(canvas: Canvas, paint: Colour) -> None:
    rear, front = (-0.68, 0.32), (0.72, 0.32)
    for hub in (rear, front):
        canvas.ring(hub, 0.27, 0.12, _TYRE)
        canvas.ring(hub, 0.17, 0.03, _RIM)
        canvas.ellipse(hub, 0.07, 0.07, _RIM)
    canvas.stroke([front, (0.42, 0.98), (0.38, 1.04)], 0.07, (150, 152, 156))
    canvas.polygon([(-0.35, 0.28), (0.3, 0.26), (0.36, 0.62), (-0.3, 0.62)], (62, 62, 66), rounds=1)
    canvas.stroke([rear, (-0.1, 0.45)], 0.08, (70, 70, 74))
    canvas.stroke([(-0.85, 0.3), (-0.1, 0.24)], 0.1, (176, 178, 182))
    canvas.polygon([(-0.1, 0.66), (-0.05, 0.92), (0.3, 0.98), (0.5, 0.7), (0.3, 0.6)], paint, rounds=2)
    canvas.polygon([(-0.95, 0.78), (-0.85, 0.9), (-0.1, 0.82), (0.0, 0.68), (-0.6, 0.62)], darker(paint, 0.85), rounds=1)
    canvas.stroke([(-0.7, 0.86), (-0.12, 0.8)], 0.09, (24, 24, 26))
    canvas.stroke([(0.32, 1.02), (MOTOR_GRIP[0], MOTOR_GRIP[1])], 0.05, (34, 34, 36))
    canvas.ellipse((0.56, 0.86), 0.09, 0.1, (255, 246, 210))
    canvas.ellipse((-0.95, 0.82), 0.05, 0.05, (196, 22, 24))
