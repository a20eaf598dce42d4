"""The file of events: what a writer and its readers do with it, whatever happened to either."""

import json
import os

import pytest

pytest.importorskip("orjson", reason="the extra serve is not installed")

from mnist_mlp.lab.live.training import events, tail
from mnist_mlp.lab.live.training.events import EventLog
from mnist_mlp.lab.live.training.redaction import without_paths
from mnist_mlp.lab.live.training.tail import Tail
from mnist_mlp.lab.live.training.watching import seen
from mnist_mlp.serve.limits import Refused


def step(log, number, epoch=1, loss=None, images=32):
    loss = 1 / number if loss is None else loss
    log.write("step", epoch=epoch, step=number, loss=loss, accuracy=0.5, images=images, seconds=0.1)


def test_an_event_is_a_line_and_its_identity_is_where_it_ends(tmp_path):
    file = tmp_path / events.NAME
    with EventLog(file, "me") as log:
        step(log, 1)
        step(log, 2, loss=float("nan"))
    found = list(events.lines(file, 0))
    assert [identity for identity, _ in found][-1] == file.stat().st_size
    first, second = (json.loads(line) for _, line in found)
    assert (first["run"], first["step"], first["loss"], second["loss"]) == ("me", 1, 1.0, None)
    assert list(events.lines(file, found[0][0])) == found[1:]
    assert list(events.lines(tmp_path / "absent", 0)) == []


@pytest.mark.parametrize("half", [b"", b'{"kind": "st', b"\xff" * 300_000])
def test_half_a_line_of_a_killed_writer_is_never_seen_and_cut_off_by_the_next(tmp_path, half):
    file = tmp_path / events.NAME
    with EventLog(file, "me") as log:
        step(log, 1)
    with open(file, "ab") as opened:
        opened.write(half)
    reader = Tail(file)
    assert reader.read() and reader.steps == 1
    with EventLog(file, "me") as log:
        step(log, 2)
    assert reader.read() and reader.steps == 2
    assert [json.loads(line)["step"] for _, line in events.lines(file, 0)] == [1, 2]


def test_a_file_that_is_only_half_a_line_becomes_empty(tmp_path):
    file = tmp_path / events.NAME
    file.write_bytes(b"x" * (events.CHUNK + 5))
    EventLog(file, "me").close()
    assert file.read_bytes() == b""


def test_an_identity_that_no_event_has_begins_anew(tmp_path):
    file = tmp_path / events.NAME
    with EventLog(file, "me") as log:
        step(log, 1)
        step(log, 2)
    reader = Tail(file)
    reader.read()
    first = next(events.lines(file, 0))[0]
    assert reader.at(0) == 0 and reader.at(first) == first and reader.at(reader.position) == reader.position
    assert [reader.at(wrong) for wrong in (1, first - 1, first + 1, reader.position + 1, 10**14, -1)] == [0] * 6


def test_merged_steps_have_the_sums_and_the_means(tmp_path):
    one = {"kind": "step", "epoch": 1, "step": 3, "loss": 2.0, "accuracy": 0.0, "images": 10, "seconds": 1.0}
    two = {"kind": "step", "epoch": 2, "step": 9, "loss": 1.0, "accuracy": 1.0, "images": 30, "seconds": 2.0}
    both = events.merged(one, two)
    assert both == {**two, "loss": 1.25, "accuracy": 0.75, "images": 40, "seconds": 3.0}
    assert events.merged({**one, "loss": None}, two)["loss"] == 1.0


def test_who_comes_late_gets_few_points_with_the_same_sums_and_the_newest_pictures_only(tmp_path, monkeypatch):
    monkeypatch.setattr(tail, "POINTS", 100)
    file = tmp_path / events.NAME
    with EventLog(file, "me") as log:
        for number in range(1, 1051):
            step(log, number)
            if number % 100 == 0:
                log.write("look", step=number)
                log.write("epoch", row={"epoch": number // 100})
    reader = Tail(file)
    reader.read()
    found = [json.loads(line) for _, line in reader.backlog(0)]
    steps = [event for event in found if event["kind"] == "step"]
    assert 96 <= len(steps) <= 120 and sum(event["images"] for event in steps) == 1050 * 32
    assert sum(event["loss"] * event["images"] for event in steps) == pytest.approx(
        sum(32 / number for number in range(1, 1051))
    )
    assert [event["step"] for event in found if event["kind"] == "look"] == [1000]
    assert [event["row"]["epoch"] for event in found if event["kind"] == "epoch"] == list(range(1, 11))
    identities = [identity for identity, _ in reader.backlog(0)]
    assert identities == sorted(identities) and all(events.ends_a_line(file, each) for each in identities)
    assert steps[-1]["step"] == 1050


def test_memory_is_bounded_and_what_is_no_longer_in_it_is_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tail, "RECENT", 5000)
    file = tmp_path / events.NAME
    reader = Tail(file)
    with EventLog(file, "me") as log:
        for number in range(1, 301):
            step(log, number)
            reader.read()
            assert reader.kept <= 5000
    assert reader.behind(0) and not reader.behind(reader.position)
    kept = [json.loads(line)["step"] for _, line in reader.since(reader.begin)]
    assert kept == list(range(301 - len(kept), 301)) and 10 < len(kept) < 60
    assert [json.loads(line)["step"] for _, line in reader.backlog(0)] == list(range(1, 301))


def test_a_chunk_for_a_watcher_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(tail, "AT_ONCE", 1000)
    file = tmp_path / events.NAME
    with EventLog(file, "me") as log:
        for number in range(1, 51):
            step(log, number)
    reader, position, found = Tail(file), 0, []
    reader.read()
    while some := reader.since(position):
        assert 0 < len(some) < 12
        found, position = found + some, some[-1][0]
    assert [json.loads(line)["step"] for _, line in found] == list(range(1, 51))


def test_ids_that_come_back_are_read_and_nonsense_is_refused():
    run = "20261130-184210-731-3f9a52c1"
    assert seen("", one=True) == seen("", one=False) == {}
    assert seen("120", one=True) == {"": 120}
    assert seen(f"{run}:5,{run[:-1]}b:0", one=False) == {run: 5, f"{run[:-1]}b": 0}
    for text, one in [("x", True), ("-1", True), ("1.5", True), ("٣", True), ("9" * 16, True), (f"{run}:5", True)]:
        with pytest.raises(Refused, match="Last-Event-ID"):
            seen(text, one=one)
    for text in ("5", "../x:5", f"{run}:", f"{run}:x", "a" * 2000):
        with pytest.raises(Refused, match="Last-Event-ID"):
            seen(text, one=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--data_dir=/home/me/my/mnist: expected", "--data_dir=…: expected"),
        ("resume with: /usr/bin/python -m x --run_dir=/srv/a", "resume with: … -m x --run_dir=…"),
        ("~/data/mnist.npz is damaged", "… is damaged"),
        ("('/etc/passwd')", "('…')"),
        ("60000/32 = 1875, 5 images/s, and/or, 1 / 255", "60000/32 = 1875, 5 images/s, and/or, 1 / 255"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
    ],
)
def test_paths_are_replaced_and_nothing_else(text, shown):
    assert without_paths(text) == shown
    assert without_paths({"a": [text, 5, None]}) == {"a": [shown, 5, None]}


def test_a_path_with_spaces_that_is_known_is_replaced_as_a_whole(monkeypatch):
    assert without_paths("lost /srv/my runs/a b: gone", ("/srv/my runs",)) == "lost … b: gone"
    monkeypatch.setenv("HOME", "/home/A Teacher")
    assert without_paths("in /home/A Teacher/x") == "in …"
    assert os.getcwd() not in without_paths(f"at {os.getcwd()}/x")
