"""What is judged: the classes of the networks, and labelled pictures in their terms.

Names are one class where `tools.datasets.classes.same_name` says so: case, `_` and `-` make no difference.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from edged.models.manifest import DetectorManifest
from tools.datasets import Part, PictureSet
from tools.datasets.choosing import choose_classes, name_objects
from tools.datasets.classes import same_name
from tools.datasets.opening import load_sets

log = logging.getLogger(__name__)

_SHOWN = 6


def judged_classes(manifests: Sequence[DetectorManifest]) -> tuple[str, ...]:
    """The classes that one of the networks finds, those of the first network first, each as the first that has it calls it.

    Raises:
        InputError: a network has two names of one class, so that a label could mean either.
    """
    for manifest in manifests:
        _refuse_twins(manifest)
    return _each_once([name for manifest in manifests for name in manifest.classes])


def _refuse_twins(manifest: DetectorManifest) -> None:
    first: dict[str, str] = {}
    for name in manifest.classes:
        twin = first.setdefault(same_name(name), name)
        if twin != name:
            raise InputError(
                f"engine {manifest.name}: its classes {twin!r} and {name!r} are one name to the labels, in which case, _, - and "
                f"VOC's spelling make no difference; give one of them another name in its model.yaml"
            )


def _each_once(names: Sequence[str]) -> tuple[str, ...]:
    return tuple({same_name(name): name for name in reversed(names)}[key] for key in dict.fromkeys(map(same_name, names)))


def load_boxes(data: Path, *, split: str | None) -> list[PictureSet]:
    """The sets of a folder that have boxes, with all classes of their files. Others are passed over with a warning.

    Args:
        data, split: as in `load_sets`.

    Raises:
        InputError: a set is wrong, or none has boxes.
    """
    sets = load_sets(data, split=split)
    for one in sets:
        if one.part is not Part.BOXES:
            log.warning("passed over: set %s has a %s for each picture and no boxes", one.name, one.part.value)
    with_boxes = [one for one in sets if one.part is Part.BOXES]
    if not with_boxes:
        where = f" in split {split!r}" if split else ""
        raise InputError(f"{data}: no set there has boxes{where}, and a detector finds boxes; label some, or name another folder")
    return with_boxes


def in_terms_of(classes: Sequence[str], sets: Sequence[PictureSet]) -> list[PictureSet]:
    """The sets with these classes, and behind them the other ones that a set labels: no engine's figure counts those.

    Returns:
        Sets that all have the same classes.
    """
    sets = [name_objects(one, classes) for one in sets]
    names = _each_once([*classes, *(name for one in sets for name in labelled_names(one))])
    return [choose_classes(one, names) for one in sets]


def labelled_names(pictures: PictureSet) -> list[str]:
    """The classes that a set labels everywhere."""
    return [name for name, known in zip(pictures.classes, pictures.labelled, strict=True) if known]


def match_classes(names: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """(len(names),) the place of each name among the classes, -1 where it has none."""
    places = {same_name(name): place for place, name in reversed(list(enumerate(classes)))}
    return np.array([places.get(same_name(name), -1) for name in names], np.int64)


def tell_nothing_shared(found: Sequence[str], sets: Sequence[PictureSet]) -> str:
    """What to say where an engine finds nothing that these sets label."""
    labelled = shorten(sorted({name for one in sets for name in labelled_names(one)})) or "nothing"
    names = shorten([one.name for one in sets])
    return f"finds {shorten(sorted(found))}; none of the sets {names} labels one of these, they label {labelled}"


def shorten(names: Sequence[str]) -> str:
    """The names in words; of many the first ones, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:_SHOWN])} and {more} more"
