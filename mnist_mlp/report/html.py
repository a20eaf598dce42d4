"""HTML and SVG as text, in which nothing of a run can become markup.

`tag` escapes every child and attribute that is plain text; only what `tag` itself has made goes in as it is.
"""

from __future__ import annotations

import html
from typing import Any

from mnist_mlp.text import spelled_out

VOID = frozenset(("br", "col", "img", "link", "meta"))  # elements without an end


class Html(str):
    """Text that is HTML already."""


def text(value: object) -> Html:
    """Any value as HTML. What cannot stand in a file of UTF-8, or steers a terminal, is spelled out: "\\udcff"."""
    if isinstance(value, Html):
        return value
    found = "\n".join(map(spelled_out, str(value).split("\n")))
    return Html(html.escape(found, quote=True))


def tag(name: str, /, *children: object, **attributes: Any) -> Html:
    """An element. Attributes are written with underscores (`class_`, `aria_label`, `stroke_width`); those that are None
    or False are left out, True stands without a value. Children that are None are left out."""
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{text(value)}"')
    opening = f"<{' '.join(words)}>"
    return Html(opening if name in VOID else f"{opening}{join(*children)}</{name}>")


def join(*parts: object) -> Html:
    """One after the other."""
    return Html("".join(text(part) for part in parts if part is not None))


def section(name: str, title: str, *children: object) -> Html:
    """A part of a page with its heading; `name` is what a link leads to."""
    heading = tag("h2", title, id=f"{name}-title")
    return tag("section", heading, *children, id=name, aria_labelledby=f"{name}-title")


def paragraph(*children: object, class_: str | None = None) -> Html:
    return tag("p", *children, class_=class_)


def scrolling(label: str, *children: object) -> Html:
    """A box that scrolls sideways where it is too wide for the screen, also by the keyboard."""
    return tag("div", *children, class_="scroll", role="region", aria_label=label, tabindex="0")


def table(
    caption: object,
    head: list[object],
    rows: list[list[object]],
    *,
    class_: str | None = None,
    style: str | None = None,
) -> Html:
    """A table whose first column names its rows. Cells that are `Html` beginning with <td go in as they are."""
    columns = tag("tr", *(tag("th", cell, scope="col") for cell in head))
    body = [tag("tr", tag("th", row[0], scope="row"), *(cell_of(value) for value in row[1:])) for row in rows]
    return tag(
        "table",
        tag("caption", tag("span", caption)),
        tag("thead", columns),
        tag("tbody", *body),
        class_=class_,
        style=style,
    )


def cell_of(value: object) -> Html:
    return value if isinstance(value, Html) and value.startswith("<td") else tag("td", value)


def definitions(rows: dict[str, object]) -> Html:
    """Names and what they stand for."""
    pairs = (tag("div", tag("dt", name), tag("dd", value)) for name, value in rows.items())
    return tag("dl", *pairs, class_="facts")


def navigation(names: dict[str, str]) -> Html:
    """Links to the sections."""
    links = (tag("li", tag("a", words, href=f"#{name}")) for name, words in names.items())
    return tag("nav", tag("ul", *links), aria_label="Sections")


def page(title: str, style: str, *children: object) -> str:
    """A whole document. Its policy forbids the browser to load or to run anything: what is shown is in the file."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("title", title),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; style-src 'unsafe-inline'; img-src data:",
        ),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(style)),
    )
    skip = tag("a", "Skip to the result", href="#main", class_="skip")
    return f"<!doctype html>\n{tag('html', head, tag('body', skip, *children), lang='en')}\n"
