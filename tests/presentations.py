"""Makes a small set of faces, live and replayed, that differ as little as a test needs: the replays have a fine grid."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIDE_PX = 64


def draw_presentation(*, is_live: bool, seed: int) -> np.ndarray:
    """(64, 64, 3) uint8: a smooth patch of any colour; an attack has a grid of every second pixel over it."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.integers(40, 200, (4, 4, 3), dtype=np.uint8), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    if not is_live:
        grid = (np.indices((SIDE_PX, SIDE_PX)).sum(axis=0) % 2 * 50 - 25)[..., None]
        smooth = np.clip(smooth.astype(int) + grid, 0, 255).astype(np.uint8)
    return smooth


def write_presentations(folder: Path, *, pictures: int = 12, attack: str = "spoof") -> Path:
    """A table with `pictures` of each label from each of two people in train, and of a third one in val."""
    rows = ["file,label,person,split"]
    (folder / "images").mkdir(parents=True)
    for number, (person, split) in enumerate((("p1", "train"), ("p2", "train"), ("p3", "val"))):
        for label in ("live", attack):
            for place in range(pictures):
                name = f"images/{person}_{label}_{place:02}.png"
                seed = (number * 2 + (label == "live")) * 1000 + place
                cv2.imwrite(str(folder / name), draw_presentation(is_live=label == "live", seed=seed))
                rows.append(f"{name},{label},{person},{split}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder
