"""Settings in a YAML file: what is wrong is told at once, by line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, model_validator

from edged.errors import InputError
from tools.settings_file import read_document, validate_settings


@dataclass(frozen=True, slots=True)
class Inner:
    """A part of the settings."""

    rate: float = 0.1


class Settings(BaseModel):
    """Some settings with a rule of their own."""

    model_config = ConfigDict(extra="forbid")

    batch: int
    inner: Inner = Inner()
    sizes: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        if self.batch % 2:
            raise ValueError(f"batch {self.batch}: expected an even number")
        return self


def read(folder: Path, text: str) -> Settings:
    """The settings in a file of this text."""
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    document = read_document(path)
    return validate_settings(Settings, document.data, document)


def test_settings_of_a_good_file_are_its_values(tmp_path: Path) -> None:
    """Parts are read as their own kind."""
    assert read(tmp_path, "batch: 4\ninner: {rate: 0.5}\n") == Settings(batch=4, inner=Inner(0.5))


def test_settings_with_many_mistakes_tell_each_with_its_line(tmp_path: Path) -> None:
    """One run shows all there is to mend."""
    with pytest.raises(InputError) as caught:
        read(tmp_path, "sizes: [1, two]\ninner:\n  rat: 0.5\n  rate: 0.1\n  rate: 0.2\nbtach: 4\n")

    lines = str(caught.value).splitlines()
    assert lines[0] == f"{tmp_path}/settings.yaml: 5 mistakes"
    for told in (
        "line 5: inner.rate: the key 'rate' stands twice, first on line 4",
        "batch: is missing: add it",
        "line 3: inner.rat: unknown key; did you mean 'rate'?",
        "line 1: sizes[1]: Input should be a valid integer",
        "line 6: btach: unknown key; did you mean 'batch'?",
    ):
        assert sum(told in line for line in lines) == 1, told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("batch: 3\n", r"1 mistake\n  batch 3: expected an even number", id="a rule of the whole"),
        pytest.param("", r"settings\.yaml: 1 mistake", id="empty"),
        pytest.param("batch: [4\n", r"settings\.yaml", id="no YAML"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """The file is named."""
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize("content", [b"\xff", None], ids=["no text", "missing"])
def test_read_document_of_no_text_file_names_it(tmp_path: Path, content: bytes | None) -> None:
    """Neither is YAML."""
    if content is not None:
        (tmp_path / "settings.yaml").write_bytes(content)

    with pytest.raises(InputError, match=r"settings\.yaml: cannot be read"):
        read_document(tmp_path / "settings.yaml")
