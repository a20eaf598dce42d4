"""The lab's server within this process: its files, who may ask, what is refused; and as a program."""

import asyncio
import json
import os
import posixpath
import re
import signal
import socket
import time
import urllib.request

import pytest
from helpers import asgi
from helpers.fork_server import run
from helpers.lab_server import lab_server, stop

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("orjson", reason="the extra serve is not installed")

from mnist_mlp.errors import UserError
from mnist_mlp.lab import command
from mnist_mlp.lab.live.app import PAGE, ROOMS, files, make_app
from mnist_mlp.serve.origins import access_to

LARGEST = 250_000  # bytes of all that the page of a room loads
LOADED = (
    r"(?:src|href)=\"(page/[^\"]+)\"|fetch\(\"(page/[^\"]+)\"|(?:from|import\() ?\"(\.[^\"]+)\"|import \"(\.[^\"]+)\""
)


@pytest.fixture(scope="module")
def ask():
    apps = {}

    def ask(path, method="GET", host="127.0.0.1", **options):
        app = apps.setdefault(host, make_app(access_to(host)))
        return asyncio.run(asgi.request(app, method, path, **options))

    return ask


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert all(word in answer.text for word in words), answer.text


def parts_of(ask, path):
    """The files that a page loads, as its links, imports and requests name them; of each its content."""
    found, waiting = {}, [path]
    while waiting:
        here = waiting.pop()
        if here in found:
            continue
        found[here] = ask(here).content
        if here.endswith((".css", ".svg", ".json")):
            continue
        for names in re.findall(LOADED, found[here].decode()):
            name = "".join(names)
            waiting.append(
                posixpath.normpath(posixpath.join("/" if name.startswith("page/") else posixpath.dirname(here), name))
            )
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_loads_its_own_parts_and_few_bytes(ask, room):
    parts = parts_of(ask, room)
    total = sum(map(len, parts.values()))
    print(f"{room}: {total:,} bytes in {len(parts)} files")
    assert total < LARGEST
    folders = {path.split("/")[2] for path in parts if path.count("/") == 3}
    assert folders == {part for part in ROOMS[room].split("/")[:-1]}, "a room has its modules, and those of all"


def test_no_file_is_sent_in_vain(ask):
    assert set().union(*(parts_of(ask, room) for room in ROOMS)) == set(files())


def test_every_file_is_sent_with_its_type_and_a_strict_policy(ask):
    for path in files():
        answer = ask(path)
        assert answer.status_code == 200 and answer.content
        head = ask(path, "HEAD")
        assert head.status_code == 200 and head.headers["content-length"] == str(len(answer.content))
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        kinds = {"css": "css", "js": "javascript", "json": "json", "svg": "svg"}
        kind = "html" if path in ROOMS else kinds[path.rpartition(".")[2]]
        assert kind in answer.headers["content-type"], path


def test_the_page_loads_nothing_from_elsewhere_and_has_no_script_within(ask):
    names = set(files())
    for path in names:
        text = ask(path).text
        loaded = set(re.findall(r"https?://[^/\"'\s<>`)]+", text))
        assert loaded <= {"http://www.w3.org", "https://playground.tensorflow.org"}, path  # names; the latter a link
        assert not re.search(r"@import|url\(|\beval\(|new Function|innerHTML|document\.write", text), path
        if path in ROOMS:
            assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", text)


@pytest.mark.parametrize("room", ROOMS)
def test_the_page_can_be_read_by_all(ask, room):
    html = ask(room).text
    (nav,) = re.findall(r"<nav class=\"rooms\" aria-label=\"Rooms\">(.*?)</nav>", html)
    assert re.findall(r"href=\"([^\"]+)\"", nav) == ["./", *(path[1:] for path in ROOMS if path != "/")]
    assert re.findall(r"href=\"([^\"]+)\" aria-current=\"page\"", nav) == ["./" if room == "/" else room[1:]]
    ids = re.findall(r"\bid=\"([^\"]+)\"", html)
    assert len(ids) == len(set(ids))
    for attribute in ("for", "aria-labelledby", "aria-controls", "data-of"):
        assert set(re.findall(rf"\b{attribute}=\"([^\"]+)\"", html)) <= set(ids), attribute
    for canvas in re.findall(r"<canvas[^>]*>", html):
        assert "aria-hidden" in canvas or ('role="img"' in canvas and "aria-label=" in canvas), canvas
    for tag in re.findall(r"<section[^>]*>|<aside[^>]*>|<dialog[^>]*>", html):
        assert "aria-label" in tag, tag
    headings = [int(level) for level in re.findall(r"<h(\d)", html)]
    assert headings[0] == 1 and headings.count(1) == 1 and set(headings[1:]) == {2}
    assert html.startswith('<!doctype html>\n<html lang="en">') and html.count("<main") == 1


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/page",
            "/page/",
            "/page/nothing.js",
            "/page/index.html",
            "/page/questions/index.html",
            "/page/questions/",
            "/questions/",
            "/page/package.json",
            "/page/README.md",
            "/page/app.py",
            "/nowhere",
        ),
        *("/page/../app.py", "/page/%2e%2e/app.py", "/page/..%2fapp.py", "/../../etc/passwd", "//etc/passwd"),
        *("/page/main.js/", "/page/main.js%00", "/page/./main.js", "/page/MAIN.JS", "/page/\\..\\app.py"),
    ],
)
def test_what_is_no_file_of_the_page_is_not_sent(ask, path):
    refused(ask(path), 404, "no such path", "the pages are /, /network, /questions")


def test_it_only_sends(ask):
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = ask("/", method)
        refused(answer, 405, f"expected GET or HEAD, received {method}")
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


def test_only_its_own_page_may_ask(ask):
    assert ask("/", headers={"origin": "http://localhost"}).status_code == 200
    for origin in ("http://evil.example", "null", "http://localhost:81", "http://[", "localhost"):
        refused(ask("/page/main.js", headers={"origin": origin}), 403, "this server's page")
    for host in ("127.0.0.1:8502", "[::1]:8502", "LOCALHOST"):
        assert ask("/", headers={"host": host}).status_code == 200
    refused(ask("/", headers={"host": "evil.example"}), 403, "evil.example")
    assert ask("/", host="0.0.0.0", headers={"host": "lab.example"}).status_code == 200
    assert "access-control-allow-origin" not in ask("/").headers


def test_the_exercises_are_those_of_the_lecture(ask):
    """The file is made once: what it asks must be what `lab.playground` asks, with the addresses of its trials."""
    from mnist_mlp.lab.playground.exercises import EXERCISES

    shown = json.loads(ask("/page/exercises.json").text)
    assert [each["number"] for each in shown] == list(EXERCISES)
    for each, exercise in zip(shown, EXERCISES.values(), strict=True):
        assert (each["title"], each["question"], each["seeds"]) == (exercise.title, exercise.question, 10)
        assert each["answer"] and all(set(claim) == {"text", "holds"} for claim in each["answer"])
        for row, trial in zip(each["trials"], exercise.trials, strict=True):
            assert (row["name"], row["epochs"]) == (trial.name, trial.epochs)
            assert row["url"] == trial.state.to_url().partition("#")[2]
            for part in ("test", "train"):
                assert row[part]["min"] <= row[part]["median"] <= row[part]["max"]


def test_the_exercises_are_measured_again():
    """What costs little is computed anew and gives the same numbers, but for a rounding error that is one of them."""
    from mnist_mlp.lab.live.make_exercises import exercise_json
    from mnist_mlp.lab.playground.exercises import EXERCISES

    shown = json.loads((PAGE / "exercises.json").read_text())[1]
    again = exercise_json(2, EXERCISES[2])
    for answer in (*shown["answer"], *again["answer"]):
        answer["text"] = re.sub(r"largest difference \S+", "", answer["text"])
    assert again == shown


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--port=70000"], "--port: expected a whole number from 0 to 65,535"),
        (["--prot=1"], "did you mean '--port'"),
        (["--host=no.such.name.invalid"], "expected a name or an address of this machine"),
        (["--host=192.0.2.1"], "try an address of this machine"),
        (["--origin", "lab.example"], "try --origin=https://lab.example"),
        (["somewhere"], "somewhere"),
    ],
)
def test_flags(flags, words):
    with pytest.raises(UserError) as error:
        command.main(flags)
    assert words in str(error.value)


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="try another --port=N"):
        command.main([f"--port={taken.getsockname()[1]}"])


@pytest.mark.slow
def test_help_and_a_missing_package():
    done = run("lab", "--help", backend=None)
    assert done.returncode == 0 and "--open" in done.stdout and "usage: python -m mnist_mlp.lab" in done.stdout
    done = run("lab", backend=None, absent=["uvicorn"])
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "packages that cannot be imported: uvicorn" in done.stderr and "'mnist_mlp[serve]'" in done.stderr


@pytest.mark.slow
def test_lines_and_the_end(tmp_path):
    shown = tmp_path / "shown"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {shown}.part && mv {shown}.part {shown}\n')
    browser.chmod(0o755)
    with lab_server("--open", env={**os.environ, "BROWSER": f"{browser} %s"}) as (process, (line,)):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+   the lecture's rooms; press Ctrl-C to stop\n", line)
        url = line.split()[0]
        with urllib.request.urlopen(f"{url}/", timeout=60) as answer:
            assert b"<h1>Playground</h1>" in answer.read()
        wait_for(shown)
        assert shown.read_text() == f"{url}\n"
        assert stop(process, signal.SIGINT) == (0, "interrupted\n", "")
    with lab_server("--host=0.0.0.0", lines=2) as (process, lines):
        assert lines[1] == "warning: every machine that can reach this address can open the page and watch the runs\n"
        assert stop(process)[:2] == (0, "terminated\n")


def wait_for(path):
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
