"""A smooth local displacement: the picture as on a rubber sheet.

Nodes of a coarse grid are displaced by chance; between them runs a uniform cubic B-spline, which is known everywhere, so that
points are carried as exactly as pixels.

Source: elastic distortion in training: Simard et al., ICDAR 2003, and Ronneberger et al., MICCAI 2015. The spline and when it is
one-to-one: Choi and Lee, "Injectivity Conditions of 2D and 3D Uniform Cubic B-Spline Functions", Graphical Models 62, 2000.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.augmentation.bounds import check_range, check_share, check_within

_TOLERANCE_PX = 0.01
_MOST_TURNS = 60


@dataclass(frozen=True, slots=True)
class LocalWarp:
    """How often and how far things are bent.

    Attributes:
        share: of samples.
        cells: of the grid along each side of the picture; more bend smaller things.
        ratio: least and most displacement of a node, in parts of a cell. Under a quarter no two points meet, and steps back to
            where a point came from converge: see `Displacement.undo`.
    """

    share: float = 0.0
    cells: int = 4
    ratio: tuple[float, float] = (0.05, 0.2)

    def __post_init__(self) -> None:
        check_share(self.share)
        check_within("cells", self.cells, least=1, most=32)
        check_range("ratio", self.ratio, least=0, most=0.24)

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> Displacement:
        """A displacement for a picture of that (width, height)."""
        ratio = rng.uniform(*self.ratio)
        nodes = rng.uniform(-ratio, ratio, (self.cells + 3, self.cells + 3, 2))
        return Displacement(size, nodes * (np.array(size) / self.cells))


@dataclass(frozen=True, slots=True, eq=False)
class Displacement:
    """How far from each place of the new picture to look for what is seen there.

    Attributes:
        size: (width, height) of the picture.
        nodes: (n + 3, n + 3, 2) x, y of the nodes' displacements, pixels, by row and column; n cells, one node more all around.
    """

    size: tuple[int, int]
    nodes: NDArray[np.float64]

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Displacement at (N, 2) places of the new picture; beyond its edge that of the edge."""
        across, down = (_weights(points[:, axis] / self.size[axis], len(self.nodes)) for axis in (0, 1))
        return np.stack([((down @ self.nodes[..., axis]) * across).sum(axis=1) for axis in (0, 1)], axis=1)

    def undo(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where in the new picture (N, 2) places of the undisplaced one appear.

        A fixed point: the displacement's slope is at most twice its nodes' displacement in cells, along each axis, so under a
        quarter each turn comes closer. Source of the slope: the derivative of a B-spline is a mean of the nodes' differences.
        """
        found = points
        for _ in range(_MOST_TURNS):
            before, found = found, points - self.at(found)
            if np.abs(found - before).max(initial=0) < _TOLERANCE_PX:
                break
        return found

    def look_up(self, to_source: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Maps of x and y for `cv2.remap`: for each pixel of the new picture the place in the source.

        Cubic B-splines reproduce straight lines, so the affine part needs only be applied to the nodes.

        Args:
            to_source: (2, 3) from the undisplaced picture to the source, in the coordinates of boxes.
        """
        n_cells = len(self.nodes) - 3
        grid = np.stack(np.meshgrid(np.arange(-1, n_cells + 2), np.arange(-1, n_cells + 2)), axis=-1)
        places = grid * (np.array(self.size) / n_cells) + self.nodes
        in_source = places @ to_source[:, :2].T + to_source[:, 2] - 0.5  # OpenCV counts from the first pixel's centre
        across, down = (_weights((np.arange(side) + 0.5) / side, len(self.nodes)).astype(np.float32) for side in self.size)
        x, y = (_multiply(down, in_source[..., axis].astype(np.float32), across) for axis in (0, 1))
        return x, y


def _weights(positions: NDArray[np.float64], n_nodes: int) -> NDArray[np.float64]:
    """(N, n_nodes) weights of the nodes at (N,) positions, 0 to 1 along the picture's side."""
    nodes = np.arange(-1, n_nodes - 1)
    away = np.abs(np.clip(positions, 0, 1)[:, None] * (n_nodes - 3) - nodes)
    outside = np.maximum(2 - away, 0)
    return np.where(away < 1, 2 / 3 + away * away * (away / 2 - 1), outside * outside * outside / 6)


def _multiply(down: NDArray[np.float32], nodes: NDArray[np.float32], across: NDArray[np.float32]) -> NDArray[np.float32]:
    """down @ nodes @ across.T by OpenCV: NumPy's threads wait for each other far longer than this takes."""
    return cv2.gemm(cv2.gemm(down, nodes, 1, None, 0), across, 1, None, 0, flags=cv2.GEMM_2_T)
