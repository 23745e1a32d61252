"""Where the bytes of pictures lie: in files of their own, or inside `images.tar`; read when they are asked for."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edged.errors import InputError

ARCHIVE = "images.tar"
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file, or a part of one, that is read anew each time.

    Attributes:
        path: of the file.
        offset_bytes, size_bytes: the part; None: to the end.
    """

    path: Path
    offset_bytes: int = 0
    size_bytes: int | None = None

    def read(self) -> bytes:
        """The bytes.

        Raises:
            InputError: the file is gone, or cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset_bytes)
                return file.read(-1 if self.size_bytes is None else self.size_bytes)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror or error}") from error


class PictureFiles:
    """The files of a folder and of its archive, by the names that labels give them."""

    def __init__(self, folder: Path, archived: Mapping[str, StoredFile]) -> None:
        self.folder = folder
        self._archived = archived

    def find(self, name: str) -> StoredFile | None:
        """A file by its name in the folder or in the archive; None where it is in neither."""
        if found := self._archived.get(name.removeprefix("./")):
            return found
        path = self.folder / name
        try:
            return StoredFile(path) if path.is_file() else None
        except (OSError, ValueError):  # a name too long, or with a zero byte
            return None


def open_files(folder: Path) -> PictureFiles:
    """The files of a folder. Of `images.tar` only the table of contents is read.

    Raises:
        InputError: there is no such folder, or its archive cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    path = folder / ARCHIVE
    if not path.exists():
        return PictureFiles(folder, {})
    try:
        with tarfile.open(path, "r:") as archive:
            entries = [entry for entry in archive if entry.isfile()]
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{path}: cannot be read: {error}; expected a tar file without compression") from error
    return PictureFiles(
        folder, {entry.name.removeprefix("./"): StoredFile(path, entry.offset_data, entry.size) for entry in entries}
    )
