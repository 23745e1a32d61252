"""What every backend must do, as classes of tests: a subclass says how its backend is opened, and is run in its place."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

import numpy as np
import pytest

from edged.backends.base import Backend, TensorSpec
from edged.errors import EdgedError, InferenceError


def make_feed(n: int, start: float = 0.0) -> dict[str, np.ndarray]:
    """Numbers that differ from each other, and from those of another start."""
    return {"x": start + np.arange(2 * n, dtype=np.float32).reshape(n, 2)}


class BackendContract(ABC):
    """Any backend over `y = x + 1` of (N, 2) float32, for batches of 1 to 8 at least."""

    @abstractmethod
    def open_add(self) -> AbstractContextManager[Backend]:
        """The backend over that network."""

    @pytest.fixture
    def backend(self):
        with self.open_add() as backend:
            yield backend

    def test_backend_declares_inputs_and_outputs(self, backend: Backend) -> None:
        """A free axis is None, names and types are the network's own."""
        assert backend.inputs == {"x": TensorSpec("float32", (None, 2))}
        assert backend.outputs == {"y": TensorSpec("float32", (None, 2))}
        assert backend.label

    @pytest.mark.parametrize("n", [1, 2, 3, 8])
    def test_infer_computes_any_batch(self, backend: Backend, n: int) -> None:
        """The outputs are those of the batch, in its order and of its length."""
        outputs = backend.infer(make_feed(n))

        assert outputs.keys() == {"y"}
        np.testing.assert_array_equal(outputs["y"], make_feed(n)["x"] + 1)

    def test_infer_of_many_sizes_in_turn_computes_each(self, backend: Backend) -> None:
        """Nothing of a larger batch, or of an earlier one of the same size, stays in a later one."""
        for turn, n in enumerate([8, 1, 3, 3, 3, 8, 1, 1, 3, 8, 8, 8, 1]):
            feed = make_feed(n, start=100.0 * turn)
            np.testing.assert_array_equal(backend.infer(feed)["y"], feed["x"] + 1)

    def test_infer_of_an_array_with_gaps_computes_what_it_shows(self, backend: Backend) -> None:
        """A feed need not be contiguous in memory."""
        wide = np.arange(32, dtype=np.float32).reshape(4, 8)

        outputs = backend.infer({"x": wide[:, ::4]})

        np.testing.assert_array_equal(outputs["y"], wide[:, ::4] + 1)

    def test_two_tickets_in_flight_keep_their_outputs_apart(self, backend: Backend) -> None:
        """Results may be fetched in either order, and the feeds' buffer may change once it was submitted."""
        feed = np.zeros((1, 2), np.float32)

        first = backend.submit({"x": feed})
        feed += 10
        second = backend.submit({"x": feed})
        feed += 10

        assert second.result()["y"].tolist() == [[11, 11]]
        assert first.result()["y"].tolist() == [[1, 1]]

    def test_two_tickets_in_flight_of_other_sizes_keep_their_lengths(self, backend: Backend) -> None:
        """Each batch has its own size."""
        tickets = [backend.submit(make_feed(5)), backend.submit(make_feed(2, start=50.0))]

        results = [ticket.result()["y"] for ticket in tickets]

        np.testing.assert_array_equal(results[0], make_feed(5)["x"] + 1)
        np.testing.assert_array_equal(results[1], make_feed(2, start=50.0)["x"] + 1)

    def test_result_stays_valid_while_the_next_batch_is_computed(self, backend: Backend) -> None:
        """Outputs may be read while one more batch is in flight."""
        outputs = backend.submit(make_feed(2)).result()

        backend.submit(make_feed(2, start=50.0)).result()

        np.testing.assert_array_equal(outputs["y"], make_feed(2)["x"] + 1)

    def test_result_asked_twice_is_the_same(self, backend: Backend) -> None:
        """A ticket answers as often as it is asked."""
        ticket = backend.submit(make_feed(3))

        ticket.result()

        np.testing.assert_array_equal(ticket.result()["y"], make_feed(3)["x"] + 1)

    @pytest.mark.parametrize(
        ("feeds", "words"),
        [
            pytest.param({}, "expected inputs", id="no feed"),
            pytest.param({"z": np.zeros((1, 2), np.float32)}, "expected inputs", id="other name"),
            pytest.param({"x": np.zeros((1, 3), np.float32)}, "input x", id="other shape"),
            pytest.param({"x": np.zeros(2, np.float32)}, "input x", id="no batch axis"),
            pytest.param({"x": np.zeros((1, 2), np.float64)}, "float64", id="other type"),
        ],
    )
    def test_infer_with_wrong_feeds_names_the_input(self, backend: Backend, feeds: dict[str, np.ndarray], words: str) -> None:
        """Feeds that do not fit are refused before the library sees them, and do no harm."""
        with pytest.raises(InferenceError, match=words):
            backend.infer(feeds)

        np.testing.assert_array_equal(backend.infer(make_feed(1))["y"], make_feed(1)["x"] + 1)

    def test_backend_after_close_refuses_to_compute(self) -> None:
        """A closed network says so; closing twice is fine."""
        with self.open_add() as backend:
            backend.close()
            backend.close()

            with pytest.raises(InferenceError, match="closed"):
                backend.infer(make_feed(1))


class FailingBackendContract(ABC):
    """Any backend over `y = x + 1` of (N, 2) float32 that fails on a batch of 3."""

    @abstractmethod
    def open_failing(self) -> AbstractContextManager[Backend]:
        """The backend over that network."""

    def test_infer_of_a_failing_batch_raises_and_the_next_is_computed(self) -> None:
        """What fails gives no outputs, not those of an earlier batch either, and spoils nothing of what comes after it."""
        with self.open_failing() as backend:
            for turn in range(3):
                feed = make_feed(2, start=10.0 * turn)
                with pytest.raises(InferenceError, match="3"):
                    backend.infer(make_feed(3))
                np.testing.assert_array_equal(backend.infer(feed)["y"], feed["x"] + 1)

    def test_a_failing_batch_leaves_the_one_in_flight_alone(self) -> None:
        """Each ticket is for its own batch."""
        with self.open_failing() as backend:
            ticket = backend.submit(make_feed(2))

            with pytest.raises(InferenceError, match="3"):
                backend.infer(make_feed(3))

            np.testing.assert_array_equal(ticket.result()["y"], make_feed(2)["x"] + 1)


class DeviceBackendContract(BackendContract):
    """A backend that computes beside the host, over memory for batches of 1 to 16."""

    @pytest.mark.parametrize("n", [0, 17])
    def test_infer_of_a_batch_outside_its_range_is_refused(self, backend: Backend, n: int) -> None:
        """Nothing is written past the memory of the largest batch, and there is no empty one."""
        with pytest.raises(InferenceError, match=rf"expected a batch of 1 to 16, got {n}"):
            backend.infer(make_feed(n))

    def test_submit_with_two_in_flight_is_refused(self, backend: Backend) -> None:
        """A third batch would overwrite one that nobody has read; it is free to come once a result was fetched."""
        first, second = backend.submit(make_feed(1)), backend.submit(make_feed(1, start=10.0))

        with pytest.raises(InferenceError, match="2 batches are in flight"):
            backend.submit(make_feed(1, start=20.0))

        first.result()
        third = backend.submit(make_feed(1, start=20.0))
        assert second.result()["y"].tolist() == [[11, 12]]
        assert third.result()["y"].tolist() == [[21, 22]]

    def test_result_of_a_slot_that_was_used_again_is_refused(self, backend: Backend) -> None:
        """Old outputs are never given out in place of overwritten ones."""
        first = backend.submit(make_feed(1))
        first.result()
        backend.infer(make_feed(1))
        backend.infer(make_feed(1))

        with pytest.raises(InferenceError, match="are gone"):
            first.result()

    def test_result_after_close_is_refused(self) -> None:
        """The memory of the outputs is gone with the backend, which waits for what is in flight."""
        with self.open_add() as backend:
            ticket = backend.submit(make_feed(1))
            backend.close()

            with pytest.raises(InferenceError, match="closed"):
                ticket.result()

    @pytest.mark.parametrize("call", ["submit", "result", "close"])
    def test_call_of_a_foreign_thread_is_refused(self, backend: Backend, call: str) -> None:
        """The device belongs to the thread that opened it; the refused call changes nothing."""
        fetched = backend.submit(make_feed(1, start=10.0))
        fetched.result()
        ticket = backend.submit(make_feed(1))
        calls = {"submit": lambda: backend.submit(make_feed(1)), "result": ticket.result, "close": backend.close}
        errors: list[EdgedError] = []

        def intrude() -> None:
            try:
                calls[call]()
            except EdgedError as error:
                errors.append(error)

        thread = threading.Thread(target=intrude, name="intruder")
        thread.start()
        thread.join()

        assert [type(error) for error in errors] == [InferenceError]
        assert "owned by thread 'MainThread', called from 'intruder'" in str(errors[0])
        np.testing.assert_array_equal(fetched.result()["y"], make_feed(1, start=10.0)["x"] + 1)
        np.testing.assert_array_equal(ticket.result()["y"], make_feed(1)["x"] + 1)
