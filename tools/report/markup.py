"""HTML and SVG as trees of elements, so that every name from a file is escaped by the serialiser and none by hand."""

from __future__ import annotations

from xml.etree import ElementTree

Element = ElementTree.Element


def element(tag: str, *children: Element | str, **attributes: object) -> Element:
    """An element with children in order.

    Attributes are named as in Python: `class_` is `class`, `stroke_width` is `stroke-width`.
    """
    made = Element(tag, {name.rstrip("_").replace("_", "-"): str(value) for name, value in attributes.items()})
    for child in children:
        if not isinstance(child, str):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + child
        else:
            made.text = (made.text or "") + child
    return made


def to_html(root: Element) -> str:
    """The document of a tree whose root is `html`."""
    return "<!DOCTYPE html>\n" + ElementTree.tostring(root, encoding="unicode", method="html") + "\n"
