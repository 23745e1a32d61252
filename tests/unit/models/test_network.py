"""What every network has in common: whoever fits pictures into its input, and how many batches compute at once."""

from __future__ import annotations

import numpy as np
import pytest
from models_onnx import make_manifest

from edged.backends.base import Feeds, Pictures, Place, TensorSpec
from edged.models.detector import Detector
from edged.models.manifest import DetectorManifest
from edged.types import Pixels


class DeviceBackend:
    """Computes beside the host, takes pictures for the input that a test says, and answers with what it was fed."""

    label = "device"

    def __init__(self, manifest: DetectorManifest, *, picture_input: str | None) -> None:
        self.picture_input = picture_input
        self.inputs = {"images": TensorSpec("uint8", (None, 3, 32, 64))}
        self.outputs = {
            "boxes": TensorSpec("float32", (None, manifest.candidates, 4)),
            "scores": TensorSpec("float32", (None, manifest.candidates, len(manifest.classes))),
        }

    def submit(self, feeds: Feeds) -> Feeds:
        return feeds

    def infer(self, feeds: Feeds) -> Feeds:
        return feeds

    def close(self) -> None:
        """Nothing is open."""


class HostBackend(DeviceBackend):
    """As any backend that says nothing of a device."""

    def __init__(self, manifest: DetectorManifest) -> None:
        super().__init__(manifest, picture_input=None)
        del self.picture_input


def open_network(picture_input: str | None = "images") -> Detector:
    manifest = make_manifest()
    return Detector(manifest, DeviceBackend(manifest, picture_input=picture_input))


def make_pictures(*sizes: tuple[int, int]) -> list[Pixels]:
    return [np.zeros((height, width, 3), np.uint8) for width, height in sizes]


@pytest.mark.parametrize(
    ("picture_input", "can"),
    [
        pytest.param("images", True, id="its input"),
        pytest.param("masks", False, id="another"),
        pytest.param(None, False, id="none"),
    ],
)
def test_network_leaves_pictures_to_the_device_where_it_takes_them(picture_input: str | None, can: bool) -> None:
    """Only the input that the manifest names counts; a second batch may be submitted in any case."""
    network = open_network(picture_input)

    prepared = network.prepare(make_pictures((64, 32)))

    assert (network.can_fit_on_device, isinstance(prepared.tensor, Pictures)) == (can, can)
    assert network.most_in_flight == 2


def test_network_without_a_device_computes_one_batch_at_a_time() -> None:
    """What a backend does not promise is not asked of it."""
    manifest = make_manifest()
    network = Detector(manifest, HostBackend(manifest))

    assert (network.most_in_flight, network.can_fit_on_device) == (1, False)


def test_network_places_pictures_where_the_host_fits_them() -> None:
    """The same transforms, so boxes go back to the same place; the pictures go as they are."""
    network, pictures = open_network(), make_pictures((160, 90), (64, 32), (10, 400), (1, 1))

    on_device = network.prepare(pictures)
    network.fit_on_host()
    on_host = network.prepare(pictures)

    assert on_device.transforms == on_host.transforms
    assert all(sent is pixels for sent, pixels in zip(on_device.tensor.pixels_rgb, pictures, strict=True))
    assert on_device.tensor.places == [Place(3, 0, 57, 32), Place(0, 0, 64, 32), Place(31, 0, 1, 32), Place(16, 0, 32, 32)]


def test_network_changes_who_fits_pictures() -> None:
    """Whoever measures both ways needs both."""
    network, pictures = open_network(), make_pictures((64, 32))

    network.fit_on_host()
    assert isinstance(network.prepare(pictures).tensor, np.ndarray)
    network.fit_on_device()
    assert isinstance(network.prepare(pictures).tensor, Pictures)


def test_network_submits_a_batch_by_the_name_of_its_input() -> None:
    """As `infer` does, without waiting."""
    network = open_network()
    prepared = network.prepare(make_pictures((64, 32)))

    assert network.submit(prepared) == {"images": prepared.tensor}
