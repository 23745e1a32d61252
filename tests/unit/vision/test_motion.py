"""Which frames are worth a detector."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edged.vision.motion import MotionGate, MotionSettings

QUIET = MotionSettings(recheck_s=1e9, linger_s=0.0)
STEP_S = 0.2


def make_scene(*, width: int = 320, height: int = 180) -> np.ndarray:
    """A picture with contrast: blocks of every brightness from 40 to 160."""
    blocks = np.random.default_rng(2).integers(40, 160, (height // 20, width // 20, 1))
    return np.repeat(np.repeat(np.repeat(blocks, 20, 0), 20, 1), 3, 2).astype(np.uint8)


def with_square(x: int) -> np.ndarray:
    pixels = make_scene()
    pixels[40:80, x : x + 40] = 255
    return pixels


def run(gate: MotionGate, frames: Iterator[np.ndarray]) -> list[bool]:
    """The gate's answers at five frames a second; the first, always true, left out."""
    answers = [gate.update(pixels, now_s=index * STEP_S) for index, pixels in enumerate(frames)]
    return answers[1:]


def noisy(deviation: float) -> Callable[[int], np.ndarray]:
    rng = np.random.default_rng(4)
    return lambda _: np.clip(make_scene() + rng.normal(0, deviation, (180, 320, 3)), 0, 255).astype(np.uint8)


def in_light(gain: Callable[[int], float], offset: Callable[[int], float]) -> Callable[[int], np.ndarray]:
    return lambda index: np.clip(make_scene() * gain(index) + offset(index), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "make_frame",
    [
        pytest.param(lambda _: make_scene(), id="the same picture"),
        pytest.param(noisy(10), id="noise of 10 grey levels"),
        pytest.param(in_light(lambda index: 1 + 0.004 * index, lambda _: 0.0), id="slow dawn"),
        pytest.param(in_light(lambda _: 1.0, lambda index: 15.0 * (index > 20)), id="sudden brightness"),
        pytest.param(in_light(lambda index: 1.3 if index > 20 else 1.0, lambda _: 0.0), id="sudden exposure"),
        pytest.param(in_light(lambda index: 1 + 0.1 * np.sin(index), lambda index: 8 * np.cos(index)), id="clouds"),
        pytest.param(lambda index: np.full((180, 320, 3), 100 + index % 3, np.uint8), id="a wall that flickers"),
    ],
)
def test_gate_of_a_still_scene_stays_shut(make_frame: Callable[[int], np.ndarray]) -> None:
    """Noise and light are no motion."""
    assert not any(run(MotionGate(QUIET), (make_frame(index) for index in range(50))))


@pytest.mark.parametrize("noise", [0, 8])
@pytest.mark.parametrize(
    ("width", "height", "shade"),
    [
        pytest.param(12, 24, 60, id="a far person, darker by some"),
        pytest.param(100, 80, 0, id="a near car"),
        pytest.param(12, 24, 250, id="bright"),
    ],
)
def test_gate_of_a_moving_square_opens_each_frame(width: int, height: int, shade: int, noise: int) -> None:
    """An object that walks keeps the gate open from its first step on."""
    rng = np.random.default_rng(1)

    def frame(index: int) -> np.ndarray:
        pixels = np.full((180, 320, 3), 110, np.uint8)
        pixels[:90] = 140
        x = 10 + 4 * index
        pixels[60 : 60 + height, x : x + width] = shade
        return np.clip(pixels + rng.normal(0, noise, pixels.shape), 0, 255).astype(np.uint8)

    assert all(run(MotionGate(QUIET), (frame(index) for index in range(40))))


def test_gate_of_an_object_that_stops_shuts_again() -> None:
    """What stands still becomes background, within a few of its time constants."""

    def frame(index: int) -> np.ndarray:
        return with_square(100) if index >= 5 else make_scene()

    answers = run(MotionGate(QUIET), (frame(index) for index in range(150)))

    assert answers[:4] == [False] * 4
    assert all(answers[4:20])
    assert not any(answers[100:])


def test_gate_with_an_ignored_area_sees_motion_outside_it_only() -> None:
    """Motion inside an ignored polygon opens nothing; the same motion beside it does."""
    left_half = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    settings = MotionSettings(recheck_s=1e9, linger_s=0.0, ignore=(left_half,))

    inside = run(MotionGate(settings), (with_square(20 + 2 * index) for index in range(20)))
    outside = run(MotionGate(settings), (with_square(200 + 2 * index) for index in range(20)))

    assert not any(inside)
    assert all(outside[1:])


@pytest.mark.parametrize(
    ("min_area_ratio", "expected"),
    [
        pytest.param(0.0170, True, id="more than the least"),
        pytest.param(16 * 16 / (160 * 90), True, id="exactly the least"),
        pytest.param(0.0185, False, id="less"),
    ],
)
def test_gate_opens_from_the_least_area_on(min_area_ratio: float, expected: bool) -> None:
    """A square of a tenth of the width is 16 x 16 of the tiny picture's 160 x 90 pixels; the share is counted from there."""
    gate = MotionGate(MotionSettings(min_area_ratio=min_area_ratio, recheck_s=1e9, linger_s=0.0))
    flat = np.full((180, 320, 3), 100, np.uint8)
    changed = flat.copy()
    changed[60:92, 100:132] += 30

    gate.update(flat, now_s=0.0)

    assert gate.update(changed, now_s=0.2) is expected


def test_gate_of_a_still_scene_opens_when_a_look_is_due() -> None:
    """The first frame passes, then one each `recheck_s`, counted from the last that passed."""
    gate = MotionGate(MotionSettings(recheck_s=3.0))

    passed = [now_s for now_s in range(10) if gate.update(make_scene(), now_s=float(now_s))]

    assert passed == [0, 3, 6, 9]


def test_gate_after_motion_stays_open_while_it_lingers() -> None:
    """For `linger_s` after the last motion every frame passes, so that a tracker sees the object gone."""
    gate = MotionGate(MotionSettings(recheck_s=1e9, linger_s=1.0, background_s=1e9))
    frames = [with_square(20), with_square(24), *[with_square(20)] * 4]

    answers = [gate.update(pixels, now_s=index * 0.5) for index, pixels in enumerate(frames)]

    assert answers == [True, True, True, True, False, False]


def test_gate_with_another_size_starts_anew() -> None:
    """A camera that changes its shape is looked at, and then compared with its new self."""
    gate = MotionGate(QUIET)
    gate.update(make_scene(), now_s=0.0)
    tall = make_scene(width=180, height=320)

    answers = [gate.update(pixels, now_s=1.0 + index) for index, pixels in enumerate([tall, tall, make_scene(), make_scene()])]

    assert answers == [True, False, True, False]


def test_gate_of_the_smallest_picture_answers() -> None:
    """A picture of one pixel is odd, not an error."""
    gate = MotionGate(QUIET)

    assert gate.update(np.zeros((1, 1, 3), np.uint8), now_s=0.0)
    assert not gate.update(np.zeros((1, 1, 3), np.uint8), now_s=1.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"threshold": 0},
        {"threshold": 255},
        {"min_area_ratio": 0},
        {"min_area_ratio": 1},
        {"recheck_s": 0},
        {"linger_s": -1},
        {"background_s": 0},
    ],
    ids=str,
)
def test_motion_settings_out_of_bounds_are_refused(settings: dict[str, float]) -> None:
    """Settings that could never open or shut the gate are refused."""
    with pytest.raises(ValueError, match="must"):
        MotionSettings(**settings)
