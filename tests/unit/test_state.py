"""The state directory survives what happens to it."""

import json

import pytest

from edged.errors import StateError
from edged.state import StateDirectory


def test_state_written_is_read_back_by_the_next_holder(tmp_path):
    """What one run writes the next one finds."""
    with StateDirectory(tmp_path / "state") as state:
        state.write_json("counters.json", {"door": {"in": 3}})

    with StateDirectory(tmp_path / "state") as state:
        assert state.read_json("counters.json") == {"door": {"in": 3}}


def test_state_absent_reads_as_none(tmp_path):
    """The first start finds nothing, which is no error."""
    with StateDirectory(tmp_path) as state:
        assert state.read_json("counters.json") is None


def test_state_held_twice_is_refused(tmp_path):
    """Two daemons never write one directory."""
    with StateDirectory(tmp_path), pytest.raises(StateError, match="in use by another edged"), StateDirectory(tmp_path):
        pass


def test_state_directory_that_cannot_be_made_names_the_place(tmp_path):
    """The message says where and how to mend it."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StateError, match=r"file/state.*set state_dir"), StateDirectory(tmp_path / "file" / "state"):
        pass


@pytest.mark.parametrize(
    "content",
    [pytest.param(b'{"door": ', id="torn"), pytest.param(b"\xff", id="not UTF-8"), pytest.param(b"[" * 100_000, id="deep")],
)
def test_state_with_a_document_that_cannot_be_read_leaves_it(tmp_path, content):
    """Reading changes nothing."""
    (tmp_path / "counters.json").write_bytes(content)

    with StateDirectory(tmp_path) as state, pytest.raises(StateError, match=r"counters\.json cannot be read"):
        state.read_json("counters.json")

    assert (tmp_path / "counters.json").read_bytes() == content


def test_state_sets_documents_aside_under_names_of_their_own(tmp_path):
    """No earlier one is overwritten, and the next read starts afresh."""
    with StateDirectory(tmp_path) as state:
        for content in ("one", "two", "three"):
            (tmp_path / "counters.json").write_text(content)
            state.set_aside("counters.json")

        assert state.read_json("counters.json") is None
    kept = {path.name: path.read_text() for path in tmp_path.glob("*.corrupt*")}
    assert kept == {"counters.json.corrupt": "one", "counters.json.corrupt.2": "two", "counters.json.corrupt.3": "three"}


def test_state_that_cannot_set_aside_says_so(tmp_path):
    """The message names the document."""
    with StateDirectory(tmp_path) as state, pytest.raises(StateError, match=r"none\.json .*cannot be renamed"):
        state.set_aside("none.json")


def test_state_that_cannot_be_encoded_leaves_the_old_one(tmp_path):
    """A failed write never harms what was there."""
    with StateDirectory(tmp_path) as state:
        state.write_json("counters.json", [1])

        with pytest.raises(StateError, match="could not be written: Out of range"):
            state.write_json("counters.json", [float("nan")])

    assert json.loads((tmp_path / "counters.json").read_text()) == [1]
