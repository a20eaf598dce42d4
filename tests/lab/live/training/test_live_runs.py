"""Real runs in the room, on the embedded digits: watched, steered, killed, resumed; and their numbers."""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from helpers import asgi
from helpers.fork_server import run, with_xla

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("orjson", reason="the extra serve is not installed")

from helpers.live_training import Watcher, application, ending

from mnist_mlp import open_run
from mnist_mlp.config import Config
from mnist_mlp.errors import UserError
from mnist_mlp.files import lock
from mnist_mlp.files.atomic import read_json
from mnist_mlp.lab.live.training import events, orders, plan
from mnist_mlp.lab.live.training.redaction import without_paths
from mnist_mlp.lab.live.training.runner import Runner
from mnist_mlp.runs import checkpoint

pytestmark = [pytest.mark.slow]

DIGITS = {"dataset": "digits", "strategy": "cpu", "backend": "tensorflow"}
LONG = {**DIGITS, "epochs": 150, "seed": 3}
PUBLISHED = ("epochs", "test")  # of a result: what must not depend on how a run was stopped


def in_room(tmp_path, script, **options):
    """Run `await script(runner, ask)` with a room; `ask(method, path, body)` gives the answer."""

    async def main():
        async with ending(Runner(tmp_path / "room", **options)) as runs:
            app = application(runs)

            async def ask(method, path, body=None, status=None):
                answer = await asgi.request(app, method, f"/training{path}", json=body)
                assert status is None or answer.status_code == status, answer.text
                return answer

            ask.app = app
            return await script(runs, ask)

    return asyncio.run(main())


def rows_without_seconds(result):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in result["epochs"]]


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    """The result of LONG as `train` alone has it."""
    place = tmp_path_factory.mktemp("plain") / "run"
    flags = [f"--{name}={value}" for name, value in LONG.items()]
    done = run("train", *flags, "--json", f"--run_dir={place}", backend="tensorflow", env=with_xla())
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "options",
    [
        {"backend": "tensorflow", "validation_fraction": 0.2},
        pytest.param(
            {"backend": "jax", "ema": 0.99, "optimizer": "sgd", "schedule": "cosine", "model": "mlp_tanh"},
            marks=pytest.mark.full,
        ),
        pytest.param({"backend": "tensorflow", "engine": "fit", "units": "20,10"}, marks=pytest.mark.full),
        pytest.param({"backend": "tensorflow", "model": "cnn"}, marks=pytest.mark.full),
        pytest.param({"backend": "jax", "engine": "fit", "model": "mlp_zeros"}, marks=pytest.mark.full),
        pytest.param({"backend": "jax", "model": "mlp_dropout", "replicas": 2}, marks=pytest.mark.full),
        pytest.param({"backend": "tensorflow", "precision": "bfloat16", "pixels": "raw"}, marks=pytest.mark.full),
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_a_run_is_seen_from_its_first_step_to_its_result(tmp_path, digits, options):
    options = {"dataset": "digits", "strategy": "cpu", "epochs": 3, **options}

    async def script(runs, ask):
        planned = (await ask("GET", "/plan?" + "&".join(f"{key}={value}" for key, value in options.items()))).json()
        name = (await ask("POST", "/runs", options, 201)).json()["run"]
        async with Watcher(ask.app, f"/training/runs/{name}/events") as watcher:
            await watcher.until(lambda w: w.ended)
        result = (await ask("GET", f"/runs/{name}/result", status=200)).json()
        summary = (await ask("GET", f"/runs/{name}", status=200)).json()
        drawn = digits.test.images[7]
        answers = (await ask("POST", "/predict", {"instances": [drawn.tolist()]}, 200)).json()
        return planned, name, watcher, result, summary, answers

    planned, name, watcher, result, summary, answers = in_room(tmp_path, script)
    folder = tmp_path / "room" / name
    assert watcher.states() == ["starting", "training", "finished"]
    assert str(tmp_path) not in json.dumps(watcher.events)

    # What was planned, what began, and the result agree.
    (began,) = watcher.of("begin")
    stored = read_json(folder / orders.RUN / "result.json")
    (told,) = watcher.of("result")
    final = read_json(folder / orders.RUN / "result.json")
    assert told["result"] == result == without_paths(stored, (str(folder),))
    assert summary["state"] == "finished" and summary["test"]["correct"] == final["test"]["correct"]
    for key in ("layers", "parameters", "steps_per_epoch", "evaluation_steps"):
        assert planned[key] == began[key] == result[key] if key != "steps_per_epoch" else True, key
    assert planned["steps_per_epoch"] == result["steps_per_epoch"] and planned["steps"] == began["steps"]
    assert planned["dataset"]["train_examples"] == began["dataset"]["train_examples"]

    # Epochs as in the history; the points between them are means over all images, none missing, none twice.
    history = [json.loads(line) for line in (folder / orders.RUN / "history.jsonl").read_text().splitlines()]
    assert [event["row"] for event in watcher.of("epoch")] == history == result["epochs"]
    points = watcher.of("step")
    examples = began["dataset"]["train_examples"]
    assert sum(point["images"] for point in points) == 3 * examples
    assert sum(point["loss"] * point["images"] for point in points) == pytest.approx(
        sum(row["loss"] for row in history) * examples, rel=1e-5
    )
    assert sum(point["accuracy"] * point["images"] for point in points) == pytest.approx(
        sum(row["accuracy"] for row in history) * examples, rel=1e-5
    )
    assert points[-1]["step"] == began["steps"] and points[-1]["epoch"] == 3
    training = next(event for event in watcher.of("state") if event["state"] == "training")
    if options.get("engine") != "fit":  # it reports after its first second
        assert points[0]["time"] - training["time"] < 1.0

    # The scores at the end are those of the result; those of an epoch say of which images they are.
    scores = watcher.of("scores")
    assert scores[-1]["final"] and scores[-1]["split"] == "test"
    for key in ("correct", "accuracy", "interval", "confusion"):
        assert scores[-1][key] == final["test"][key], key
    assert scores[-1]["loss"] == pytest.approx(final["test"]["loss"], rel=1e-4)
    assert all(each["split"] == began["scored_on"] and "final" not in each for each in scores[:-1])
    assert began["scored_on"] == ("validation" if options.get("validation_fraction") else "test")
    worst = scores[-1]["mistakes"]
    wrong = final["test"]["total"] - final["test"]["correct"]
    assert len(worst) == min(12, wrong) and all(each["guess"] != each["label"] for each in worst)
    for each in worst:
        assert each["label"] == digits.test.labels[each["index"]]
        pixels = np.frombuffer(base64.b64decode(each["image"]), np.uint8).reshape(28, 28)
        np.testing.assert_array_equal(pixels, digits.test.images[each["index"]])
    assert [each["of_label"] for each in worst] == sorted(each["of_label"] for each in worst)

    # The last look is into the model that is saved.
    look = watcher.of("look")[-1]
    saved = open_run(folder / orders.RUN, strategy="cpu", backend="tensorflow")
    check_look(look, saved, options)
    (answer,) = answers["runs"]
    exact = options.get("precision") != "bfloat16"
    np.testing.assert_allclose(
        answer["answer"]["probabilities"], saved.predict(digits.test.images[7:8])[0], atol=1e-5 if exact else 0.05
    )
    assert [layer["layer"] for layer in answer["answer"]["activations"]] == [d["layer"] for d in look["dead"]]


def check_look(look, saved, options):
    """Compare the pictures and dead units of a look with the saved model."""
    shown = look["pictures"]
    kernel = np.asarray(saved.engine.model.get_layer(shown["layer"]).kernel)
    units = min(64, kernel.shape[-1])
    kernels = np.moveaxis(kernel.reshape(*shown["shape"][1:], -1), -1, 0)[:units]
    assert shown["units"] == kernel.shape[-1] and shown["shape"][0] == units
    pixels = np.frombuffer(base64.b64decode(shown["pixels"]), np.uint8).reshape(shown["shape"]).astype(float)
    scales = np.array(shown["scales"])[:, None, None]
    np.testing.assert_allclose((pixels - 128) / 127 * scales, kernels, atol=0.6 * float(scales.max()) / 127)
    if options.get("model") == "mlp_zeros":
        assert [(row["dead"], row["units"]) for row in look["dead"]] == [(128, 128), (64, 64)]
    assert all(0 <= row["dead"] <= row["units"] for row in look["dead"])
    assert abs(sum(look["probabilities"]) - 1) < 1e-5


def test_a_run_pauses_changes_its_rate_stops_and_goes_on(tmp_path, full):
    async def script(runs, ask):
        name = (await ask("POST", "/runs", {**LONG, "epochs": 300, "checkpoint_every": "0"}, 201)).json()["run"]
        command = f"/runs/{name}"
        async with Watcher(ask.app, "/training/events") as watcher:
            await watcher.until(lambda w: len(w.of("step")) > 3)
            await ask("POST", command, {"do": "pause"}, 202)
            await watcher.until(lambda w: w.states()[-1:] == ["paused"])
            paused_at = watcher.of("state")[-1]["step"]
            assert max(checkpoint.files(runs.find(name).folder / orders.RUN)) == paused_at
            count = len(watcher.events)
            await asyncio.sleep(0.6)
            assert len(watcher.events) <= count + 1  # how it stands, perhaps
            await ask("POST", command, {"do": "digit", "index": 359}, 202)
            await ask("POST", command, {"do": "digit", "index": 360}, 202)
            await watcher.until(lambda w: w.of("refused"))
            assert watcher.of("refused")[0]["message"].startswith("index: expected a whole number from 0 to 359")
            await ask("POST", command, {"do": "go_on"}, 202)
            await watcher.until(lambda w: any(step["step"] > paused_at for step in w.of("step")))
            await watcher.until(lambda w: w.of("look")[-1]["digit"]["index"] == 359)
            await ask("POST", command, {"do": "pause"}, 202)
            await watcher.until(lambda w: w.states()[-1:] == ["paused"])
            paused_at = watcher.of("state")[-1]["step"]
            await ask("POST", command, {"do": "rate", "learning_rate": 0.0001}, 202)
            await watcher.until(lambda w: w.of("rate"))
            await ask("POST", command, {"do": "stop"}, 202)  # what was changed in the pause is saved, too
            await watcher.until(lambda w: w.states()[-1:] == ["stopped"])
            await watcher.until(lambda w: not runs.find(name).active)
            stopped_at = max(step["step"] for step in watcher.of("step"))
            answer = await ask("POST", command, {"do": "rate", "learning_rate": 0.1})
            assert answer.status_code == 409
            await ask("POST", command, {"do": "go_on"}, 202)
            await watcher.until(lambda w: w.states()[-1:] == ["finished"])
            assert watcher.of("begin")[-1]["step"] == stopped_at == paused_at
            assert watcher.of("begin")[-1]["rates"] == watcher.of("result")[0]["result"]["recipe"]["rates"]
            await watcher.until(lambda w: not runs.find(name).active)
            answer = await ask("POST", command, {"do": "go_on", "epochs": 300})
            assert answer.status_code == 409 and "more than the 300 that are done" in answer.text
            if full:
                await ask("POST", command, {"do": "go_on", "epochs": 302}, 202)
                await watcher.until(lambda w: w.states().count("finished") == 2)
            result = (await ask("GET", f"/runs/{name}/result", status=200)).json()
        return paused_at, watcher, result

    paused_at, watcher, result = in_room(tmp_path, script)
    (change,) = result["recipe"]["rates"]
    assert change == {"step": paused_at, "from": 0.001, "to": 0.0001} and result["learning_rate"] == 0.001
    epochs = 302 if full else 300
    assert len(result["epochs"]) == epochs
    changed = [row["epoch"] for row in result["epochs"] if "learning_rate" in row]
    assert changed == list(range(changed[0], epochs + 1)) and changed[0] == paused_at // 45 + 1
    assert {row["learning_rate"] for row in result["epochs"][changed[0] - 1 :]} == {0.0001}
    assert {step["learning_rate"] for step in watcher.of("step") if step["step"] > paused_at} == {0.0001}


@pytest.mark.full
def test_stopped_and_killed_runs_go_on_to_the_numbers_of_one_that_never_was(tmp_path, never_stopped):
    async def script(runs, ask):
        name = (await ask("POST", "/runs", LONG, 201)).json()["run"]
        async with Watcher(ask.app, "/training/events") as watcher:
            await watcher.until(lambda w: len(w.of("epoch")) > 3)
            await ask("POST", f"/runs/{name}", {"do": "stop"}, 202)
            await watcher.until(lambda w: not runs.find(name).active)
            await ask("POST", f"/runs/{name}", {"do": "go_on"}, 202)
            epochs = len(watcher.of("epoch"))
            await watcher.until(lambda w: len(w.of("epoch")) > epochs + 3)
            os.killpg(runs.find(name).process.pid, signal.SIGKILL)
            await watcher.until(lambda w: not runs.find(name).active)
            assert runs.find(name).message == "its process was killed by signal 9 (SIGKILL)"
            last = max(checkpoint.files(runs.find(name).folder / orders.RUN))
            await ask("POST", f"/runs/{name}", {"do": "go_on"}, 202)
            await watcher.until(lambda w: w.states()[-1:] == ["finished"])
            assert watcher.of("begin")[-1]["step"] == last
            return (await ask("GET", f"/runs/{name}/result", status=200)).json()

    result = in_room(tmp_path, script)
    assert rows_without_seconds(result) == rows_without_seconds(never_stopped)
    assert result["test"] == never_stopped["test"] and result["model_sha256"] == never_stopped["model_sha256"]
    assert len(result["resumed"]) == 2


SERVER = """
import asyncio, sys
from pathlib import Path
from mnist_mlp.lab.live.training.runner import Runner

async def main():
    run = Runner(Path(sys.argv[1])).order({"dataset": "digits", "strategy": "cpu", "epochs": 100000})
    print(run.name, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def test_a_killed_server_leaves_a_run_that_goes_on_under_the_next(tmp_path):
    room = tmp_path / "room"
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(room)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    folder = room / server.stdout.readline().strip()

    def kinds():
        return [events.kind_of(line) for _, line in events.lines(folder / events.NAME, 0)]

    async def script(runs, ask):
        name = folder.name
        async with Watcher(ask.app, f"/training/runs/{name}/events") as watcher:
            await watcher.until(lambda w: w.ended)
            assert watcher.states()[-1] == "stopped"
            assert watcher.of("state")[-1]["message"] == "stopped, because the server ended"
            assert not (folder / lock.NAME).exists()
        stopped_at = max(checkpoint.files(folder / orders.RUN))
        last = next(identity for identity in reversed(watcher.ids) if identity)
        async with Watcher(ask.app, f"/training/runs/{name}/events", last) as again:
            await ask("POST", f"/runs/{name}", {"do": "go_on"}, 202)
            await again.until(lambda w: w.of("epoch"))
            assert again.of("begin")[0]["step"] == stopped_at
            assert again.of("begin")[0]["history"][-1]["epoch"] == stopped_at // 45
            assert again.of("epoch")[0]["row"]["epoch"] == stopped_at // 45 + 1
            await ask("POST", f"/runs/{name}", {"do": "stop"}, 202)
            await again.until(lambda w: w.ended)

    try:
        while "epoch" not in kinds():
            assert server.poll() is None
            time.sleep(0.05)
        with pytest.raises(UserError, match="this room is locked by process"):
            Runner(room)
        server.kill()
        server.wait()
        in_room(tmp_path, script)
    finally:
        server.kill()
        server.stdout.close()


def test_what_cannot_start_says_why_and_leaves_no_run(tmp_path):
    async def script(runs, ask):
        options = {"dataset": "mnist", "strategy": "cpu"}
        name = (await ask("POST", "/runs", options, 201)).json()["run"]
        async with Watcher(ask.app, f"/training/runs/{name}/events") as watcher:
            await watcher.until(lambda w: w.ended)
        return name, watcher, (await ask("GET", f"/runs/{name}", status=200)).json()

    nowhere = tmp_path / "no data here"
    nowhere.mkdir()
    name, watcher, summary = in_room(tmp_path, script, data_dir=str(nowhere))
    assert watcher.states() == ["starting", "failed"] and summary["state"] == "failed"
    assert "expected" in summary["message"] and str(tmp_path) not in json.dumps(summary)
    assert not (tmp_path / "room" / name / orders.RUN).exists()


@pytest.mark.full
def test_a_run_that_diverges_says_so(tmp_path):
    async def script(runs, ask):
        options = {**DIGITS, "learning_rate": 1e30, "optimizer": "sgd"}
        name = (await ask("POST", "/runs", options, 201)).json()["run"]
        async with Watcher(ask.app, f"/training/runs/{name}/events") as watcher:
            await watcher.until(lambda w: w.ended)
        return (await ask("GET", f"/runs/{name}", status=200)).json()

    summary = in_room(tmp_path, script)
    assert summary["state"] == "failed" and summary["message"].startswith("training diverged")


@pytest.mark.parametrize("model", ["softmax", "mlp", "deep", "mlp_dropout", "mlp_l2", "mlp_zeros", "cnn"])
@pytest.mark.parametrize("pixels", ["unit", "raw"])
def test_the_planned_layers_are_those_of_the_model(model, pixels):
    from mnist_mlp.models import networks
    from mnist_mlp.runs.result import layer_rows

    config = Config(model=model, pixels=pixels, units="30,20,10" if model == "mlp_dropout" else None)
    assert plan.layer_rows(config) == layer_rows(networks.from_config(config))
