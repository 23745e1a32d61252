"""Settings refuse what makes no sense."""

import pytest

from edged.rules.settings import (
    MAX_NAME_LENGTH,
    ClassLimits,
    CrowdSettings,
    LineSettings,
    ObjectSettings,
    RuleSettings,
    ZoneSettings,
)

SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def make_zones(names):
    return tuple(ZoneSettings(str(name), SQUARE) for name in names)


def make_lines(names):
    return tuple(LineSettings(str(name), (0.0, 0.5), (1.0, 0.5)) for name in names)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: ClassLimits(min_score=1.1), "min_score", id="score above 1"),
        pytest.param(lambda: ClassLimits(min_width_ratio=0.6, max_width_ratio=0.5), "least <= most", id="least above most"),
        pytest.param(lambda: ClassLimits(max_height_ratio=1.5), "least <= most", id="size above the picture"),
        pytest.param(lambda: CrowdSettings(at=0), "at least 1", id="crowd of nobody"),
        pytest.param(lambda: CrowdSettings(at=1, for_s=-1), "for_s", id="crowd in the past"),
        pytest.param(lambda: ZoneSettings("", SQUARE), "1 to 64", id="no name"),
        pytest.param(lambda: ZoneSettings("z" * (MAX_NAME_LENGTH + 1), SQUARE), "1 to 64", id="name too long"),
        pytest.param(lambda: ZoneSettings("z", SQUARE[:2]), "3 corners", id="two corners"),
        pytest.param(lambda: ZoneSettings("z", ((0, 0), (0.5, 0.5), (1, 1))), "enclose an area", id="corners on one line"),
        pytest.param(lambda: ZoneSettings("z", ((0, 0), (1.2, 0), (1, 1))), "0 to 1", id="corner outside the picture"),
        pytest.param(lambda: ZoneSettings("z", SQUARE, dwell_s=0), "dwell_s", id="dwell of nothing"),
        pytest.param(lambda: ZoneSettings("z", SQUARE, dwell_repeat_s=5), "needs dwell_s", id="repeat without dwell"),
        pytest.param(lambda: ZoneSettings("z", SQUARE, settle_s=-1), "settle_s", id="settled before it came"),
        pytest.param(lambda: LineSettings("l", (0.5, 0.5), (0.5, 0.5)), "same point", id="line without length"),
        pytest.param(lambda: LineSettings("l", (0.5, 0.5), (0.5, -0.5)), "0 to 1", id="line outside the picture"),
        pytest.param(lambda: LineSettings("l", (0, 0), (1, 1), hysteresis_ratio=-0.1), "hysteresis", id="negative band"),
        pytest.param(lambda: ObjectSettings(update_every_s=0), "update_every_s", id="update without pause"),
        pytest.param(lambda: ObjectSettings(update_min_s=-1), "update_min_s", id="negative pause"),
        pytest.param(lambda: RuleSettings(zones=make_zones("aa")), "zone names .* used twice: a", id="zone twice"),
        pytest.param(lambda: RuleSettings(lines=make_lines("aa")), "line names .* used twice: a", id="line twice"),
        pytest.param(lambda: RuleSettings(zones=make_zones(range(33))), "32 zones, got 33", id="too many zones"),
        pytest.param(lambda: RuleSettings(lines=make_lines(range(33))), "32 lines, got 33", id="too many lines"),
    ],
)
def test_settings_out_of_bounds_are_refused(make, message):
    """Each setting out of its bounds is refused with its name."""
    with pytest.raises(ValueError, match=message):
        make()


def test_limits_that_are_equal_are_allowed():
    """The least may be the most."""
    limits = ClassLimits(min_width_ratio=0.5, max_width_ratio=0.5)

    assert limits.min_width_ratio == limits.max_width_ratio
