"""The room over HTTP: what can be chosen, what is refused, the queue, the commands; and how a run is planned.

No framework and no training here: where a process is needed, `helpers/live_stand_in.py` takes its place.
"""

import asyncio
import collections
import dataclasses
import json
import os
import random
import signal
import urllib.parse

import pytest
from helpers import asgi
from helpers.serving import TESTS

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("orjson", reason="the extra serve is not installed")

from helpers.live_training import Watcher, application, ending

from mnist_mlp.config import Config
from mnist_mlp.errors import UserError
from mnist_mlp.lab.live.training import orders, runner, watching
from mnist_mlp.lab.live.training.runner import IN_VIEW, Runner

DIGITS = {"dataset": "digits", "strategy": "cpu"}


def asked(tmp_path, *requests, runs=None, **options):
    """The answers to requests, each (method, path, JSON or bytes)."""

    async def ask():
        async with ending(runs or Runner(tmp_path / "room")) as found:
            found.program = (TESTS / "helpers" / "live_stand_in.py",)
            app = application(found, **options)
            answers = []
            for method, path, *body in requests:
                given = {"content": body[0]} if body and isinstance(body[0], bytes) else {"json": (body or [None])[0]}
                answers.append(await asgi.request(app, method, path, **given))
            return answers

    return asyncio.run(ask())


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert all(word in answer.json()["error"] for word in words), answer.text


def own_message(**options):
    """What `Config` says about these options."""
    with pytest.raises(UserError) as error:
        Config(**options)
    return str(error.value)


def test_the_options_are_those_of_training_without_paths_and_addresses(tmp_path):
    (answer,) = asked(tmp_path, ("GET", "/training"))
    about = answer.json()
    names = [option["name"] for option in about["options"]]
    fields = {field.name: field for field in dataclasses.fields(Config)}
    assert {"model", "pixels", "optimizer", "learning_rate", "batch_size", "epochs", "seed", "augment"} <= set(names)
    hidden = {"data_dir", "init_from", "config", "run_dir", "tpu", "workers", "resume", "tensorboard", "profile"}
    assert not hidden & set(names) and set(names) <= fields.keys()
    for option in about["options"]:
        field = fields[option["name"]]
        assert (option["help"], option["default"]) == (field.metadata["help"], field.default)
        assert option["choices"] == [c for c in field.metadata["choices"] if c != "multiworker"]
    assert set(about["presets"]) == {"default", "lecture", "smoke", "speedrun", "best", "robust"}
    assert about["read_only"] is False and "pause" in about["commands"]


WRONG = [
    {"model": "mpl"},
    {"epochs": -1},
    {"epochs": "5"},
    {"epochs": 5.5},
    {"epochs": True},
    {"learning_rate": "fast"},
    {"learning_rate": 0},
    {"batch_size": 0},
    {"seed": 2**32},
    {"units": "0"},
    {"model": "softmax", "units": "5"},
    {"checkpoint_every": "sometimes"},
    {"ema": 1},
    {"preset": "worst"},
    {"preset": ["default"]},
    {"optimizer": {}},
    {"augment": None},
    {"engine": "fit", "ema": 0.9},
]


@pytest.mark.parametrize("options", WRONG, ids=json.dumps)
def test_wrong_options_are_answered_with_the_message_of_the_options(tmp_path, options):
    (answer,) = asked(tmp_path, ("POST", "/training/runs", options))
    refused(answer, 400, own_message(**options))
    assert list((tmp_path / "room").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data_dir": "/etc"}, "only who starts the server"),
        ({"init_from": "/etc"}, "only who starts the server"),
        ({"run_dir": "/tmp/x"}, "only who starts the server"),
        ({"config": "/etc/passwd"}, "only who starts the server"),
        ({"tpu": "grpc://10.0.0.1"}, "only who starts the server"),
        ({"lr": 0.1}, "did you mean 'learning_rate'?"),
        ({"strategy": "multiworker"}, "expected one of auto, cpu, gpu, tpu, mirrored here"),
        ({"": 1}, "expected an option"),
    ],
)
def test_what_no_page_may_set_is_refused(tmp_path, options, words):
    (answer,) = asked(tmp_path, ("POST", "/training/runs", options))
    refused(answer, 400, words)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/training/runs", b"{", 400, "invalid JSON"),
        ("POST", "/training/runs", b"[]", 400, "expected a JSON object, received an empty list"),
        ("POST", "/training/runs", b"\xff\xfe", 400, "UTF-8"),
        ("POST", "/training/runs", b'{"a": NaN}', 400, "NaN"),
        ("POST", "/training/runs", b" " * 65_537, 413, "65,536"),
        ("POST", "/training/runs", b"[" * 60_000, 400, "JSON"),
        ("GET", "/training/runs/20261130-184210-731-3f9a52c1", None, 404, "no such run"),
        ("GET", "/training/runs/..%2f..%2fetc", None, 404, "no such"),
        ("GET", "/training/runs/x/events", None, 404, "no such run"),
        ("GET", "/training/runs/x/result", None, 404, "no such run"),
        ("POST", "/training/runs/x", {"do": "stop"}, 404, "no such run"),
        ("DELETE", "/training/runs", None, 405, "received DELETE"),
        ("POST", "/training/plan", {}, 405, "received POST"),
        ("GET", "/training/predict", None, 405, "received GET"),
        ("GET", "/training/plan?model=mpl", None, 400, "did you mean 'mlp'?"),
        ("GET", "/training/plan?epochs=five", None, 400, "--epochs: expected a whole number"),
        ("GET", "/training/plan?gate=perhaps", None, 400, "--gate: expected true or false"),
        ("GET", "/training/plan?epochs=5&epochs=6", None, 400, "twice"),
        ("GET", "/training/plan?data_dir=/etc", None, 400, "only who starts the server"),
        ("GET", "/training/plan?dataset=custom", None, 400, "--data_dir"),
        ("GET", "/training/events?last_event_id=x", None, 400, "Last-Event-ID"),
        ("POST", "/training/predict", {"instances": []}, 400, "at least one image"),
        ("POST", "/training/predict", {"instances": [[0] * 784, [0] * 784]}, 400, "expected one image, received 2"),
    ],
)
def test_nonsense_is_refused(tmp_path, method, path, body, status, words):
    (answer,) = asked(tmp_path, (method, path, *([body] if body is not None else [])))
    refused(answer, status, words)
    assert str(tmp_path) not in answer.text


def anything(draw, depth=0):
    """A JSON value at random, often one that means something here."""
    words = [
        *Config.__dataclass_fields__,
        *runner.COMMANDS,
        "do",
        "index",
        "mlp",
        "digits",
        "tpu",
        "",
        "\x00",
        "é" * 99,
    ]
    numbers = [0, 1, -1, 5, 2**31, 2**63, 1e308, 0.001, True, False, None]
    kind = draw.random()
    if depth < 3 and kind < 0.5:
        size = draw.randint(0, 4)
        if kind < 0.4:
            return {draw.choice(words): anything(draw, depth + 1) for _ in range(size)}
        return [anything(draw, depth + 1) for _ in range(size)]
    return draw.choice(words) if kind < 0.75 else draw.choice(numbers)


def test_random_requests_never_find_a_bug(tmp_path, full):
    """None starts: no process may run here. Some are good orders, and fill the queue."""

    async def script():
        async with ending(Runner(tmp_path / "room", at_once=0)) as runs:
            app, draw, statuses = application(runs), random.Random(1), collections.Counter()
            for _ in range(20_000 if full else 400):
                name = draw.choice([*runs.runs, "x", "20261130-184210-731-3f9a52c1", "%00", "..%2f"])
                path = draw.choice(["", "/plan", "/runs", f"/runs/{name}", f"/runs/{name}/result", "/predict", "/a/b"])
                method = draw.choice(["GET", "POST", "POST", "POST", "PUT", "HEAD"])
                query = urllib.parse.urlencode({draw.choice(["epochs", "model", "a"]): str(anything(draw, 3))})
                body = json.dumps(anything(draw)).encode()
                if draw.random() < 0.1:
                    body = body[: draw.randint(0, len(body))] + bytes(draw.choices(range(256), k=3))
                kind = draw.choice(["application/json", "text/plain", "image/png"])
                answer = await asgi.request(
                    app, method, f"/training{path}?{query}", content=body, headers={"content-type": kind}
                )
                statuses[answer.status_code] += 1
                assert answer.status_code < 500, (method, path, query, body, answer.text)
                if answer.status_code >= 400 and method != "HEAD":
                    assert list(answer.json()) == ["error"] and str(tmp_path) not in answer.text, answer.text
            return statuses

    statuses = asyncio.run(script())
    assert {200, 400, 404, 405} <= statuses.keys(), statuses


def test_an_audience_sees_everything_and_changes_nothing(tmp_path):
    get, head, post, command, predict = asked(
        tmp_path,
        ("GET", "/training"),
        ("HEAD", "/training/events"),
        ("POST", "/training/runs", DIGITS),
        ("POST", "/training/runs/x", {"do": "stop"}),
        ("POST", "/training/predict", {"instances": [[0] * 784]}),
        read_only=True,
    )
    assert get.json()["read_only"] is True and get.json()["commands"] == []
    assert head.status_code == 200 and head.headers["content-type"].startswith("text/event-stream")
    for answer in (post, command, predict):
        refused(answer, 403, "read-only")
    assert list((tmp_path / "room").iterdir()) == []


def test_a_run_is_planned_without_a_framework(tmp_path):
    (answer,) = asked(tmp_path, ("GET", "/training/plan?dataset=digits&batch_size=100&validation_fraction=0.1"))
    found = answer.json()
    assert answer.status_code == 200 and found["parameters"] == 109_386
    assert found["arithmetic"] == "(784 + 1) · 128 = 100,480 + (128 + 1) · 64 = 8,256 + (64 + 1) · 10 = 650"
    assert found["dataset"]["train_examples"] + found["dataset"]["validation_examples"] == 1437
    assert found["steps_per_epoch"] == -(-found["dataset"]["train_examples"] // 100)
    assert found["division"]["test"] == "360/100 → 4" and found["steps"] == 5 * found["steps_per_epoch"]
    assert 'layers.Dense(128, activation="relu")' in found["program"] and "batch_size=100" in found["program"]
    assert "data_dir" not in found["options"] and found["options"]["batch_size"] == 100


def test_a_plan_on_mnist_has_the_numbers_of_the_lecture(tmp_path, mnist_dir):
    runs = Runner(tmp_path / "room", data_dir=str(mnist_dir))
    (answer,) = asked(tmp_path, ("GET", "/training/plan?dataset=mnist&preset=lecture"), runs=runs)
    found = answer.json()
    assert (found["steps_per_epoch"], found["evaluation_steps"]) == (1875, 313)
    assert found["division"] == {"train": "60000/32 = 1875", "test": "10000/32 → 313"}
    assert "keras.datasets.mnist.load_data()" in found["program"] and "Rescaling" not in found["program"]
    assert str(mnist_dir) not in answer.text


def test_wrong_options_of_the_operator_are_reported_at_once(tmp_path):
    with pytest.raises(UserError, match="--backend"):
        Runner(tmp_path / "room", backend="torch")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="expected a directory for the runs"):
        Runner(tmp_path / "file")


def test_names_are_new_and_in_order():
    names = [orders.new_name() for _ in range(1000)]  # of some milliseconds, so that random digits must tell them apart
    assert len(set(names)) == 1000 and all(orders.NAME.fullmatch(name) for name in names)


@pytest.mark.slow
def test_one_run_at_a_time_and_the_others_in_their_order(tmp_path):
    async def script():
        async with ending(Runner(tmp_path / "room")) as runs:
            runs.program = (TESTS / "helpers" / "live_stand_in.py",)
            app = application(runs)
            posts = [await asgi.request(app, "POST", "/training/runs", json=DIGITS) for _ in range(IN_VIEW)]
            assert [post.status_code for post in posts] == [201] * IN_VIEW
            names = [post.json()["run"] for post in posts]
            assert [run.state for run in runs.in_view()] == ["starting", *["queued"] * (IN_VIEW - 1)]
            refused(await asgi.request(app, "POST", "/training/runs", json=DIGITS), 429, "at most 6 runs")

            async def command(name, **body):
                return await asgi.request(app, "POST", f"/training/runs/{name}", json=body)

            refused(await command(names[1], do="pause"), 409, "this one is queued")
            refused(await command(names[1], do="hide"), 409, "stop it first")
            refused(await asgi.request(app, "GET", f"/training/runs/{names[1]}/result"), 409, "this one is queued")
            for body, words in [
                ({}, "do: expected one of"),
                ({"do": ["stop"]}, "do: expected one of"),
                ({"do": "stop", "now": 1}, "received also 'now'"),
                ({"do": "rate"}, "expected a number, received none"),
                ({"do": "rate", "learning_rate": "0.1"}, "--learning_rate: expected a number"),
                ({"do": "rate", "learning_rate": -1}, "--learning_rate: expected a number"),
                ({"do": "digit", "index": "5"}, "index: expected"),
                ({"do": "digit", "index": True}, "index: expected"),
            ]:
                refused(await command(names[0], **body), 400, words)
            assert (await command(names[1], do="stop")).status_code == 202
            async with Watcher(app, "/training/events") as watcher:
                await watcher.until(lambda w: [e for e in w.of("step") if e["run"] == names[0]])
                assert (await command(names[0], do="stop")).status_code == 202
                await watcher.until(lambda w: [e for e in w.of("step") if e["run"] == names[2]])
                told = [(e["run"], e["state"]) for e in watcher.of("run")]
                assert told.index((names[0], "stopped")) < told.index((names[2], "starting"))
                assert (names[1], "stopped") in told
            assert [runs.find(name).state for name in names[:3]] == ["stopped", "stopped", "training"]
            for name in names[3:]:
                await command(name, do="stop")
            assert (await command(names[0], do="go_on")).json()["state"] == "queued"
            assert (await command(names[1], do="hide")).status_code == 202
            refused(await asgi.request(app, "GET", f"/training/runs/{names[1]}"), 404, "no such run")
            return names

    names = asyncio.run(script())
    again = Runner(tmp_path / "room")
    assert sorted(again.runs) == sorted(set(names) - {names[1]})
    assert all(not run.active and run.state == "stopped" for run in again.runs.values())


@pytest.mark.slow
def test_two_at_a_time_if_wanted_and_how_their_processes_end(tmp_path):
    async def script():
        async with ending(Runner(tmp_path / "room", at_once=2)) as runs:
            runs.program = (TESTS / "helpers" / "live_stand_in.py",)
            app = application(runs)
            names = [(await asgi.request(app, "POST", "/training/runs", json=DIGITS)).json()["run"] for _ in range(2)]
            async with Watcher(app, "/training/events") as watcher:
                for name in names:
                    await watcher.until(lambda w, name=name: [e for e in w.of("step") if e["run"] == name])
                for name, rate in zip(names, (666, 2), strict=True):
                    body = {"do": "rate", "learning_rate": rate}
                    assert (await asgi.request(app, "POST", f"/training/runs/{name}", json=body)).status_code == 202
                await watcher.until(lambda w: all(not run.active for run in runs.runs.values()))
                await watcher.until(lambda w: {"stopped", "failed"} <= {e["state"] for e in w.of("run")})
            killed, failed = (runs.find(name) for name in names)
            assert (killed.state, failed.state) == ("stopped", "failed")
            assert killed.message == "its process was killed by signal 9 (SIGKILL)" and killed.standing()["goes_on"]
            assert failed.message == "cannot read …"

    asyncio.run(script())


@pytest.mark.slow
def test_a_watcher_of_one_run_and_one_of_all_see_the_same_and_come_back_where_they_were(tmp_path):
    async def script():
        async with ending(Runner(tmp_path / "room")) as runs:
            runs.program = (TESTS / "helpers" / "live_stand_in.py",)
            app = application(runs)
            name = (await asgi.request(app, "POST", "/training/runs", json=DIGITS)).json()["run"]
            one, every = f"/training/runs/{name}/events", "/training/events"
            async with Watcher(app, one) as first, Watcher(app, every) as second:
                await first.until(lambda w: len(w.of("step")) >= 10)
                await second.until(lambda w: len(w.of("step")) >= 10)
            last_of_one, last_of_all = (next(i for i in reversed(w.ids) if i) for w in (first, second))
            assert last_of_all.startswith(f"{name}:")
            async with (
                Watcher(app, one, last_of_one) as third,
                Watcher(app, f"{every}?last_event_id={last_of_all}") as fourth,
                Watcher(app, one) as whole,
                Watcher(app, one, "1") as lost,
            ):
                await third.until(lambda w: w.ended)
                await whole.until(lambda w: w.ended)
                await lost.until(lambda w: w.ended)
                await fourth.until(lambda w: "finished" in w.states())
            assert third.task.done()
            assert first.logged() + third.logged() == whole.logged() == lost.logged()
            assert second.logged() + fourth.logged() == whole.logged()
            assert [event["step"] for event in whole.of("step")] == list(range(1, 51))
            assert runs.watchers == 0

    asyncio.run(script())


@pytest.mark.slow
def test_too_many_watchers_are_refused_and_a_silent_stream_is_kept_alive(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "WATCHERS", 3)
    monkeypatch.setattr(watching, "ALIVE", 0.1)

    async def script():
        async with ending(Runner(tmp_path / "room")) as runs:
            app = application(runs)
            async with Watcher(app, "/training/events"), Watcher(app, "/training/events") as second:
                async with Watcher(app, "/training/events") as third:
                    await third.until(lambda w: runs.watchers == 3)
                    refused(await asgi.request(app, "GET", "/training/events"), 429, "at most 3 watchers")
                await second.until(lambda w: runs.watchers == 2)
                await second.until(lambda w: w.comments >= 3)
                assert second.status == 200 and second.events == [] and not second.task.done()

    asyncio.run(script())


@pytest.mark.slow
def test_a_watcher_who_takes_nothing_is_let_go_and_holds_up_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "PATIENCE", 0.3)

    async def script():
        async with ending(Runner(tmp_path / "room")) as runs:
            runs.program = (TESTS / "helpers" / "live_stand_in.py",)
            app = application(runs)
            name = (await asgi.request(app, "POST", "/training/runs", json=DIGITS)).json()["run"]
            stuck = Watcher(app, f"/training/runs/{name}/events")

            async def never(message):
                stuck.status = message.get("status", stuck.status)
                if message["type"] == "http.response.body" and message.get("more_body"):
                    await asyncio.sleep(3600)

            stuck.send = never
            async with stuck, Watcher(app, f"/training/runs/{name}/events") as watcher:
                await watcher.until(lambda w: w.ended)
                assert stuck.task.done()
            assert [event["step"] for event in watcher.of("step")] == list(range(1, 51))

    asyncio.run(script())


@pytest.mark.slow
def test_a_process_outlives_a_killed_server_by_a_moment_only_and_another_server_waits_for_it(tmp_path):
    async def script():
        runs = Runner(tmp_path / "room")
        runs.program = (TESTS / "helpers" / "live_stand_in.py",)
        app = application(runs)
        name = (await asgi.request(app, "POST", "/training/runs", json=DIGITS)).json()["run"]
        async with Watcher(app, "/training/events") as watcher:
            await watcher.until(lambda w: w.of("step"))
        runs.ticking.cancel()
        process, pipe = runs.find(name).process, runs.find(name).commands
        os.kill(process.pid, signal.SIGSTOP)  # so that it is surely still there
        os.close(pipe)  # as the kernel does when a server is killed
        runs.open.close()
        again = Runner(tmp_path / "room")
        app = application(again)
        assert again.find(name).active
        answer = await asgi.request(app, "POST", f"/training/runs/{name}", json={"do": "go_on"})
        refused(answer, 409, "still ending")
        refused(await asgi.request(app, "POST", f"/training/runs/{name}", json={"do": "rate", "learning_rate": 1}), 409)
        refused(await asgi.request(app, "POST", f"/training/runs/{name}", json={"do": "pause"}), 409, "is stopped")
        os.kill(process.pid, signal.SIGCONT)
        async with Watcher(app, "/training/events") as watcher:
            await asyncio.get_running_loop().run_in_executor(None, process.wait, 30)
            await watcher.until(lambda w: not again.find(name).active)
            assert again.find(name).message == "stopped, because the server ended"
            again.program = runs.program
            answer = await asgi.request(app, "POST", f"/training/runs/{name}", json={"do": "go_on"})
            assert (answer.status_code, answer.json()["state"]) == (202, "starting")
            await watcher.until(lambda w: w.states().count("training") == 2)
        async with ending(again):
            pass

    asyncio.run(script())
