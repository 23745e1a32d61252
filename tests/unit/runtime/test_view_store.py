"""What cameras have learnt to see survives a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edged.rules.scene import COLUMNS, ROWS, SceneMemory, View
from edged.runtime.view_store import SAVE_PERIOD_S, VIEWS, ViewStore
from edged.state import StateDirectory


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    """A state directory held by us."""
    with StateDirectory(tmp_path) as held:
        yield held


def make_store(state: StateDirectory, *, model: str = "5" * 64) -> ViewStore:
    return ViewStore(state, model=model, class_names=("road", "wall"))


def make_view(share: float, *, number: int = 1) -> View:
    shares = np.empty((ROWS, COLUMNS, 2))
    shares[..., 0], shares[..., 1] = share, 1 - share
    return View(shares, np.full((ROWS, COLUMNS, 1), 7.0), n_maps=7, number=number)


def make_memory(*shares: float, is_changed: bool = False) -> SceneMemory:
    return SceneMemory(tuple(make_view(share, number=number) for number, share in enumerate(shares, start=1)), is_changed)


def roads(store: ViewStore) -> dict[str, list[float]]:
    """By camera, how much of each of its views is road."""
    return {camera: [float(np.mean(view.shares[..., 0])) for view in memory.views] for camera, memory in store.load().items()}


def test_store_of_a_first_start_is_empty_and_writes_nothing(state: StateDirectory, tmp_path: Path) -> None:
    """No camera knows its view yet, which is no error."""
    store = make_store(state)

    assert store.load() == {}
    store.note("door", SceneMemory())
    store.save(now_s=0.0, is_last=True)

    assert not (tmp_path / VIEWS).exists()


def test_store_keeps_views_and_cameras_that_learn_no_more(state: StateDirectory) -> None:
    """A camera that is off today is known tomorrow."""
    before = make_store(state)
    before.load()
    before.note("door", make_memory(0.25, 0.75))
    before.note("yard", make_memory(0.5))
    before.save(now_s=0.0)

    store = make_store(state)
    store.load()
    store.note("door", make_memory(0.125))
    store.save(now_s=0.0, is_last=True)

    assert roads(make_store(state)) == {"door": [0.125], "yard": [0.5]}


def test_store_writes_at_once_what_was_learnt_and_now_and_then_what_follows(state: StateDirectory) -> None:
    """A power cut costs no view, and the light of the day no card its life."""
    store = make_store(state)
    store.load()
    store.save(now_s=0.0)

    store.note("door", make_memory(0.25))
    store.save(now_s=1.0)
    learnt = roads(make_store(state))
    store.note("door", make_memory(0.5))  # the same view, a bit later
    store.save(now_s=SAVE_PERIOD_S - 1)
    too_soon = roads(make_store(state))
    store.save(now_s=SAVE_PERIOD_S)

    assert learnt == too_soon == {"door": [0.25]}
    assert roads(make_store(state)) == {"door": [0.5]}


def test_store_writes_at_once_that_a_camera_was_pushed_and_a_view_that_replaced_another(state: StateDirectory) -> None:
    """Nothing is said twice over a restart; and the fifth view is as much news as the first."""
    store = make_store(state)
    store.load()
    store.save(now_s=0.0)
    store.note("door", make_memory(0.25))
    store.save(now_s=1.0)

    store.note("door", make_memory(0.25, is_changed=True))
    store.save(now_s=2.0)
    assert make_store(state).load()["door"].is_changed

    store.note("door", SceneMemory((make_view(0.5, number=2),)))
    store.save(now_s=3.0)
    assert roads(make_store(state)) == {"door": [0.5]}


def test_store_of_another_network_begins_anew(state: StateDirectory, caplog: pytest.LogCaptureFixture) -> None:
    """What it saw cannot be compared."""
    caplog.set_level("INFO")
    before = make_store(state)
    before.note("door", make_memory(0.25))
    before.save(now_s=0.0)

    assert make_store(state, model="6" * 64).load() == {}
    assert "learnt anew" in caplog.text


@pytest.mark.parametrize(
    "cameras",
    [
        pytest.param([], id="list"),
        pytest.param({"door": {}}, id="view without a list"),
        pytest.param({"door": {"views": [{"shares": 1}]}}, id="half a view"),
        pytest.param({"door": {"views": [make_view(0.5).to_json()] * 5}}, id="too many"),
    ],
)
def test_store_that_is_wrong_is_kept_aside(
    state: StateDirectory, tmp_path: Path, caplog: pytest.LogCaptureFixture, cameras: object
) -> None:
    """The cameras learn anew, and the file can be looked at."""
    text = json.dumps({"model": "5" * 64, "classes": ["road", "wall"], "cameras": cameras})
    (tmp_path / VIEWS).write_text(text)

    assert make_store(state).load() == {}
    assert (tmp_path / f"{VIEWS}.corrupt").read_text() == text
    assert "learnt anew" in caplog.text


def test_store_that_cannot_be_written_says_so_and_tries_again(
    state: StateDirectory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk is no reason to stop."""
    store = make_store(state)
    store.load()
    (tmp_path / f"{VIEWS}.part").mkdir()
    store.note("door", make_memory(0.25))
    store.save(now_s=0.0)
    (tmp_path / f"{VIEWS}.part").rmdir()

    store.save(now_s=SAVE_PERIOD_S)

    assert "views are not kept" in caplog.text
    assert roads(make_store(state)) == {"door": [0.25]}
