"""Build HTML and SVG in which no text of a run can become markup.

`tag` escapes every child and attribute that is plain text; only `Html`, which `tag` returns, is inserted unchanged.
"""

from __future__ import annotations

import html
from typing import Any

from mnist_mlp.text import spelled_out

VOID = frozenset(("br", "col", "img", "link", "meta"))  # elements without an end tag


class Html(str):
    """Text that is already HTML."""


def text(value: object) -> Html:
    """Escape a value. Characters that UTF-8 cannot encode, and control characters, are spelled out: "\\udcff"."""
    if isinstance(value, Html):
        return value
    printable = "\n".join(map(spelled_out, str(value).split("\n")))
    return Html(html.escape(printable, quote=True))


def tag(name: str, /, *children: object, **attributes: Any) -> Html:
    """Return an element. Children that are None are omitted.

    Attribute names use underscores (`class_`, `aria_label`); None or False omits an attribute, True writes it without a
    value.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{text(value)}"')
    opening = f"<{' '.join(words)}>"
    return Html(opening if name in VOID else f"{opening}{join(*children)}</{name}>")


def join(*parts: object) -> Html:
    """Concatenate parts; None is omitted."""
    return Html("".join(text(part) for part in parts if part is not None))


def section(name: str, title: str, *children: object) -> Html:
    """Return a section with its heading; `name` is its id."""
    heading = tag("h2", title, id=f"{name}-title")
    return tag("section", heading, *children, id=name, aria_labelledby=f"{name}-title")


def paragraph(*children: object, class_: str | None = None) -> Html:
    return tag("p", *children, class_=class_)


def scrolling(label: str, *children: object) -> Html:
    """Return a box that scrolls horizontally if its content is too wide, also with the keyboard."""
    return tag("div", *children, class_="scroll", role="region", aria_label=label, tabindex="0")


def table(
    caption: object,
    head: list[object],
    rows: list[list[object]],
    *,
    class_: str | None = None,
    style: str | None = None,
) -> Html:
    """Return a table whose first column holds row headers. Cells that are <td> elements are inserted unchanged."""
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
    """Return a list of names and values."""
    pairs = (tag("div", tag("dt", name), tag("dd", value)) for name, value in rows.items())
    return tag("dl", *pairs, class_="facts")


def navigation(names: dict[str, str]) -> Html:
    """Return links to the sections: {id: text}."""
    links = (tag("li", tag("a", words, href=f"#{name}")) for name, words in names.items())
    return tag("nav", tag("ul", *links), aria_label="Sections")


def page(title: str, style: str, *children: object) -> str:
    """Return a document. Its Content-Security-Policy forbids the browser to load or run anything."""
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
