"""Where things are on the street, in design pixels of a 640x360 picture; larger pictures are scaled.

The camera hangs about four metres above the pavement. Everything that stands on the ground at height `y` of the
picture is drawn with `pixels_per_metre(y)`: farther is higher up and smaller.
"""

from __future__ import annotations

DESIGN_WIDTH = 640
DESIGN_HEIGHT = 360

HORIZON_Y = 35.0
PIXELS_PER_METRE_PER_ROW = 0.198

WALL_Y = 168.0
FAR_KERB_Y = 202.0
BAY_Y = 217.0
FAR_LANE_Y = 241.0
NEAR_LANE_Y = 275.0
CYCLE_LANE_Y = 295.0
NEAR_KERB_Y = 304.0

FAR_WALK_Y = (180.0, 193.0)
NEAR_WALK_Y = (320.0, 344.0)
ZEBRA_X = (288.0, 372.0)
BAY_X = 490.0


def pixels_per_metre(y: float) -> float:
    """Design pixels that a metre takes on the ground at picture height `y` (design pixels)."""
    return PIXELS_PER_METRE_PER_ROW * (y - HORIZON_Y)
