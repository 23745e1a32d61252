"""Everything wrong in a folder of labelled pictures, said at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edged.errors import InputError

SHOWN = 20
"""So many mistakes are told one by one; of the others the number is."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong.

    Attributes:
        file: in the folder.
        place: the line, row or element of it; empty for the file as a whole.
        message: what was expected and found, and how to mend it.
    """

    file: str
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}{', ' if self.place else ''}{self.place}: {self.message}"


class Mistakes:
    """The mistakes of one folder, in the order found; beyond `most` they are only counted."""

    def __init__(self, folder: Path | str, *, most: int = SHOWN) -> None:
        self._folder, self._most = folder, most
        self.shown: list[Mistake] = []
        self.count = 0

    def add(self, file: str, place: str, message: str) -> None:
        """Note a mistake and go on."""
        self.count += 1
        if len(self.shown) < self._most:
            self.shown.append(Mistake(file, place, message))

    def refuse(self) -> None:
        """Stop if there is any.

        Raises:
            InputError: with all of them.
        """
        if self.count:
            raise InputError(str(self))

    def __str__(self) -> str:
        lines = [f"{self._folder}: {self.count} mistake{'s' if self.count != 1 else ''}"]
        lines += [f"  {mistake}" for mistake in self.shown]
        if self.count > len(self.shown):
            lines.append(f"  … and {self.count - len(self.shown)} more")
        return "\n".join(lines)
