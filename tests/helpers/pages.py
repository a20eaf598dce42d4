"""The pages that the programs write: one file each, that loads nothing and that everybody can read."""

import html
import re
from html.parser import HTMLParser

LARGEST = 400_000  # bytes of a page
VOID = {"br", "col", "img", "link", "meta"}
HEADINGS = ("h1", "h2", "h3")


class Page(HTMLParser):
    """A page taken apart; complains about what is not well-formed or cannot be read by all."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.source, self.open, self.tags, self.words, self.headings = source, [], [], [], []
        self.ids, self.targets = [], set()
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, name, attributes):
        given = dict(attributes)
        assert len(given) == len(attributes), f"an attribute twice in <{name}>"
        self.tags.append((name, given, len(self.words)))
        if name not in VOID:
            self.open.append(name)
        if name in HEADINGS:
            self.headings.append(int(name[1]))
        if "id" in given:
            self.ids.append(given["id"])
        self.targets |= {given["href"][1:]} if given.get("href", "").startswith("#") else set()
        self.targets |= set(given.get("aria-labelledby", "").split())

    def handle_endtag(self, name):
        assert self.open and self.open.pop() == name, f"</{name}> ends something else"

    def handle_data(self, words):
        if "style" not in self.open:
            self.words.append(words)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, name, **wanted):
        return [given for tag, given, _ in self.tags if tag == name and wanted.items() <= given.items()]

    def rows(self, caption):
        """The cells of the table with that caption."""
        start = self.source.index(f"<caption><span>{html.escape(caption, quote=True)}</span>")
        table = self.source[start : self.source.index("</table>", start)]
        return [
            [html.unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
            for row in re.findall(r"<tr>(.*?)</tr>", table)
        ]


def checked(path):
    """The page in a file, after all that holds of every page."""
    assert path.stat().st_size < LARGEST
    source = path.read_text()
    page = Page(source)
    assert source.startswith('<!doctype html>\n<html lang="en">')
    # One file: nothing is loaded, nothing runs.
    assert not {"script", "iframe", "object", "embed", "form", "base", "audio", "video"} & {
        name for name, *_ in page.tags
    }
    for name, given, _ in page.tags:
        for key, value in given.items():
            assert not key.startswith("on"), f"<{name} {key}>"
            if key in ("src", "href", "data", "action", "poster", "xlink:href", "srcset"):
                assert value.startswith(("#", "data:image/png;base64,", "data:image/jpeg;base64,", "data:,")), value[
                    :80
                ]
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style and "@import" not in style and "http" not in style
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    # For all: names of pictures and tables, headings in order, links that lead somewhere, boxes that scroll by key.
    assert all(given.get("alt") for given in page.all("img"))
    assert all(given.get("scope") in ("row", "col") for given in page.all("th"))
    assert source.count("<table") == source.count("<caption>")
    assert all(
        given.get("aria-labelledby") or given.get("aria-label") or given.get("aria-hidden") for given in page.all("svg")
    )
    assert len(set(page.ids)) == len(page.ids)
    assert page.targets <= set(page.ids), page.targets - set(page.ids)
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(later <= before + 1 for before, later in zip(page.headings, page.headings[1:], strict=False))
    assert len(page.all("main")) == 1 and page.all("nav", **{"aria-label": "Sections"})
    for given in page.all("div", **{"class": "scroll"}) + page.all("pre"):
        assert given["tabindex"] == "0" and given["role"] == "region" and given["aria-label"]
    assert page.all("a", **{"class": "skip", "href": "#main"})
    return page
