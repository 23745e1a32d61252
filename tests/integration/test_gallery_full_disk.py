"""A disk that is really full, while people are enrolled and forgotten: a small file system, which only root can mount."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edged.errors import GalleryError
from edged.identity.encryption import KEY_NAME, KeyPlace
from edged.identity.forgetting import forget
from edged.identity.gallery import Gallery, open_gallery

DISK_KIB = 1024
ROOM_TO_DELETE = 64 * 1024
FEW = 10
"""People who are enrolled before it is full."""
MANY = 1000
"""More than fit."""
DIGEST = "5" * 64
CROP = b"a crop of somebody's face" * 400


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of about a megabyte."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k,mode=0700", "tmpfs", place]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def open_on(disk: Path) -> Gallery:
    return open_gallery(disk / "state", KeyPlace(disk / "state" / KEY_NAME))


def enrol(gallery: Gallery, number: int) -> None:
    with gallery.transaction():
        person_id = gallery.add_person(f"person {number}", consent="form 12", enrolled_at=0.0)
        embedding = np.eye(128, dtype=np.float32)[number % 128]
        gallery.add_template(person_id, embedding, model_digest=DIGEST, crop_png=CROP)


def rest_of(disk: Path) -> Path:
    return disk / "rest"


def fill(disk: Path) -> None:
    """Leave no byte of it."""
    with rest_of(disk).open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass


def enrol_all(gallery: Gallery, numbers: Iterable[int]) -> None:
    """One after the other, each in a transaction of its own."""
    for number in numbers:
        enrol(gallery, number)


def enrol_until_full(gallery: Gallery, disk: Path) -> int:
    """Enrol some people, let something else fill the disk, and enrol until there is no room; how many people there are then."""
    enrol_all(gallery, range(FEW))
    fill(disk)
    with pytest.raises(GalleryError, match="is full"):
        enrol_all(gallery, range(FEW, MANY))
    return len(gallery.people())


def matching(gallery: Gallery) -> int:
    return len(gallery.take_snapshot(DIGEST, now_at=0.0).matcher)


def test_enrolment_on_a_full_disk_is_refused_whole(disk: Path) -> None:
    """Nobody is half enrolled, everybody else still matches, and it goes on once there is room."""
    with open_on(disk) as gallery:
        number = enrol_until_full(gallery, disk)

        with pytest.raises(GalleryError, match="make room on the disk"):
            enrol(gallery, number)
        assert (len(gallery.people()), matching(gallery)) == (number, number)

        rest_of(disk).unlink()
        enrol(gallery, number)
        assert matching(gallery) == number + 1


def test_gallery_on_a_full_disk_is_opened_and_read(disk: Path) -> None:
    """A daemon that starts with a full disk knows whom it knew."""
    with open_on(disk) as gallery:
        number = enrol_until_full(gallery, disk)

    with open_on(disk) as gallery:
        assert matching(gallery) == number


def test_first_gallery_on_a_full_disk_says_so(disk: Path) -> None:
    """Neither a key without a gallery is left behind that is wrong, nor a gallery that is none."""
    (disk / "state").mkdir()
    fill(disk)

    with pytest.raises(GalleryError, match="room"):
        open_on(disk)

    rest_of(disk).unlink()
    with open_on(disk) as gallery:
        enrol(gallery, 0)
        assert matching(gallery) == 1


def test_forgetting_on_a_full_disk_is_refused_whole_and_done_once_there_is_room(disk: Path) -> None:
    """Even a deletion is written to the log first. Who asked is told, the person still matches, and a second try is enough."""
    with open_on(disk) as gallery:
        number = enrol_until_full(gallery, disk)
        person = gallery.people()[0]

        with pytest.raises(GalleryError, match="nothing was changed: make room on the disk"):
            forget(gallery, person)
        assert matching(gallery) == number

        rest_of(disk).unlink()
        erased = forget(gallery, person)
        assert (matching(gallery), erased.left) == (number - 1, ())


def test_person_forgotten_on_a_disk_with_little_room_is_erased_later(disk: Path) -> None:
    """There is room to delete them, none to write the file anew: that is told as left, and done by whoever opens it next."""
    with open_on(disk) as gallery:
        number = enrol_until_full(gallery, disk)
        person = gallery.people()[0]
        with rest_of(disk).open("r+b") as file:
            file.truncate(rest_of(disk).stat().st_size - ROOM_TO_DELETE)

        erased = forget(gallery, person)

        assert matching(gallery) == number - 1
        assert (len(erased.left), "not yet overwritten" in erased.left[0]) == (1, True)
    rest_of(disk).unlink()
    with open_on(disk) as gallery:
        assert not gallery.erase()  # it was done when it was opened
        assert matching(gallery) == number - 1
