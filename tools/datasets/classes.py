"""Names of classes: ours, and when two names are the same class."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from edged.errors import InputError

CATEGORY_IDS = {1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 6: "bus", 8: "truck"}
"""COCO's ids of the classes that we detect."""
CLASSES = tuple(CATEGORY_IDS.values())

ALIASES = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "tvmonitor": "tv",
    "diningtable": "dining table",
    "pottedplant": "potted plant",
    "with mask": "face",
    "without mask": "face",
    "mask weared incorrect": "face",
}
"""Pascal VOC's names of classes that COCO has under another name, and what sets of masked faces call their faces. Nothing that
could mean two classes ("bike") is here.

Source: the class lists of the VOC 2012 development kit, of COCO 2017 and of Kaggle's "Face Mask Detection" (its spelling).
"""

ONE_CLASS = "object"
"""The class of boxes in a table without a column for it."""

VOID_NAMES = ("void", "ignore", "ignored", "unlabelled", "unlabeled")
"""Names of what is labelled as unknown: it counts neither way."""


def same_name(name: str) -> str:
    """One spelling for all names of a class: case, underscores, hyphens and the aliases make no difference."""
    plain = " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
    return ALIASES.get(plain, plain)


def place_of(names: Sequence[str]) -> dict[str, int]:
    """The place of each wanted class, by its one spelling.

    Raises:
        InputError: two of the names are the same class, or there is none.
    """
    places = {same_name(name): place for place, name in reversed(list(enumerate(names)))}
    if not names or len(places) < len(names):
        raise InputError(f"classes {', '.join(names) or 'none'}: expected names of different classes, each once")
    return places


def hint_at(name: str, known: Sequence[str]) -> str:
    """What to say of a name that is not among the known ones: the nearest one, or all of them."""
    by_spelling = {same_name(one): one for one in known}
    near = difflib.get_close_matches(same_name(name), by_spelling, n=1)
    if near:
        return f"did you mean {by_spelling[near[0]]!r}?"
    shown = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
    return f"known: {shown or 'none'}"
