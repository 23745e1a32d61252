"""Which frames are worth a detector: a tiny grey picture against its own slow past."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels
from edged.vision.masks import Polygon, polygon_mask

_WIDTH = 160
"""Columns of the tiny picture: a person of 5 % of the frame's height is still a dozen pixels."""

_FLAT_VARIANCE = 4.0
"""Below this variance in grey levels the picture is noise, and its contrast says nothing about the light."""

_GAIN_LIMITS = (0.5, 2.0)
"""A stronger change of light than this counts as motion: the detector should see what happened."""


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """When a frame counts as moving.

    Attributes:
        threshold: grey levels (of 255) by which a pixel must differ from the background.
        min_area_ratio: share of the picture that must differ.
        recheck_s: a still scene is looked at this often all the same.
        linger_s: frames count as moving for this long after the last motion, so that a tracker sees an object leave.
        background_s: the background follows the picture with this time constant; what has stopped becomes background.
        ignore: areas where nothing counts as motion, in shares of the picture.
    """

    threshold: float = 12.0
    min_area_ratio: float = 0.001
    recheck_s: float = 10.0
    linger_s: float = 2.0
    background_s: float = 5.0
    ignore: tuple[Polygon, ...] = ()

    def __post_init__(self) -> None:
        if not (0 < self.threshold < 255 and 0 < self.min_area_ratio < 1):
            raise ValueError(
                f"threshold must lie in 0..255 and min_area_ratio in 0..1, got {self.threshold}, {self.min_area_ratio}"
            )
        if not (self.recheck_s > 0 and self.linger_s >= 0 and self.background_s > 0):
            raise ValueError("recheck_s and background_s must be above 0, linger_s 0 or more")


class MotionGate:
    """Tells the frames of one camera that need a detector from those that show what the last one showed.

    A change of light over the whole picture (a cloud, a camera's own exposure) is no motion: contrast and brightness are
    fitted first. Noise is none: the tiny picture is smoothed.
    """

    def __init__(self, settings: MotionSettings) -> None:
        self.settings = settings
        self._background = np.zeros((0, 0), np.float32)
        self._watched = np.zeros((0, 0), np.bool_)
        self._seen_s = self._moved_s = self._passed_s = -math.inf

    def update(self, pixels_rgb: Pixels, *, now_s: float) -> bool:
        """Whether this frame should be analysed: it moved, or moved lately, or a look is due. True for the first.

        Args:
            pixels_rgb: (H, W, 3) uint8; another size than before starts anew.
            now_s: seconds, not falling.
        """
        grey = _make_tiny(pixels_rgb)
        if grey.shape != self._background.shape:
            self._start(grey, now_s=now_s)
        if self._is_moving(grey):
            self._moved_s = now_s
        self._follow(grey, now_s=now_s)
        passes = now_s - self._moved_s <= self.settings.linger_s or now_s - self._passed_s >= self.settings.recheck_s
        if passes:
            self._passed_s = now_s
        return passes

    def _start(self, grey: NDArray[np.float32], *, now_s: float) -> None:
        height, width = grey.shape
        self._background = grey.copy()
        self._watched = ~polygon_mask(self.settings.ignore, width=width, height=height)
        self._seen_s, self._moved_s, self._passed_s = now_s, -math.inf, -math.inf

    def _is_moving(self, grey: NDArray[np.float32]) -> bool:
        difference = cv2.absdiff(grey, _relight(self._background, grey))
        differs = (difference > self.settings.threshold) & self._watched
        return np.count_nonzero(differs) >= self.settings.min_area_ratio * grey.size

    def _follow(self, grey: NDArray[np.float32], *, now_s: float) -> None:
        """Let the background follow, whatever the frame rate."""
        weight = 1.0 - math.exp(-max(0.0, now_s - self._seen_s) / self.settings.background_s)
        cv2.accumulateWeighted(grey, self._background, weight)
        self._seen_s = now_s


def _make_tiny(pixels_rgb: Pixels) -> NDArray[np.float32]:
    """A smoothed grey picture, 160 columns wide, of the same shape."""
    height = max(1, round(_WIDTH * pixels_rgb.shape[0] / pixels_rgb.shape[1]))
    tiny = cv2.resize(pixels_rgb, (_WIDTH, height), interpolation=cv2.INTER_LINEAR)
    return cv2.blur(cv2.cvtColor(tiny, cv2.COLOR_RGB2GRAY), (3, 3)).astype(np.float32)


def _relight(background: NDArray[np.float32], grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """The background in the light of `grey`: scaled and shifted to fit it best in the least-squares sense."""
    mean_before, mean_now = cv2.mean(background)[0], cv2.mean(grey)[0]
    centred = background - np.float32(mean_before)
    variance = float(np.vdot(centred, centred)) / centred.size
    gain = 1.0
    if variance > _FLAT_VARIANCE:
        gain = float(np.vdot(centred, grey)) / centred.size / variance
        gain = min(max(gain, _GAIN_LIMITS[0]), _GAIN_LIMITS[1])
    centred *= np.float32(gain)
    centred += np.float32(mean_now)
    return centred
