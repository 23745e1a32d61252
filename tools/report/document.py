"""One HTML file of an evaluation: no script, nothing from elsewhere, readable on a phone and on a dark screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edged.errors import InputError
from tools.report.markup import Element, element, to_html

_STYLE = Path(__file__).with_name("page.css")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def make_document(title: str, body: Sequence[Element]) -> Element:
    """The page with its head and style."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", _STYLE.read_text(encoding="utf-8")),
    )
    return element("html", head, element("body", *body), lang="en")


def write_document(path: Path, document: Element) -> None:
    """Write a page.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        path.write_text(to_html(document), encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: the page cannot be written: {error}") from error


def make_table(
    head: Sequence[str], rows: Sequence[Sequence[Element | str]], *, total: Sequence[Element | str] = (), caption: str = ""
) -> Element:
    """A table in a box of its own that scrolls sideways on a narrow screen."""
    lines = [element("tr", *(_cell(cell) for cell in row)) for row in rows]
    if total:
        lines.append(element("tr", *(_cell(cell) for cell in total), class_="total"))
    captions = [element("caption", caption)] if caption else []
    heads = element("thead", element("tr", *(element("th", title, scope="col") for title in head)))
    return element("div", element("table", *captions, heads, element("tbody", *lines)), class_="scroll")


def _cell(content: Element | str) -> Element:
    return content if not isinstance(content, str) and content.tag == "td" else element("td", content)
