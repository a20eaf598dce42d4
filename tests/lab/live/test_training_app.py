"""Who may steer the runs of the lab and who looks on; the directory of the runs, which only their room needs."""

import asyncio

import pytest
from helpers import asgi

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("orjson", reason="the extra serve is not installed")

from mnist_mlp.lab.live.app import make_app
from mnist_mlp.lab.live.training_app import TrainingApp, sits_here
from mnist_mlp.serve.origins import access_to


def asked(training, *requests):
    """The answers to requests, each (method, path, headers) from an address of a client."""

    async def ask():
        app = make_app(access_to("0.0.0.0"), training=training)
        try:
            return [await from_client(app, *request) for request in requests]
        finally:
            training.close()

    return asyncio.run(ask())


async def from_client(app, client, method, path, headers=None, body=None):
    async def from_there(scope, receive, send):
        await app({**scope, "client": (client, 5)}, receive, send)

    return await asgi.request(from_there, method, path, headers=headers or {}, json=body)


def test_the_other_rooms_need_no_directory_of_runs(tmp_path):
    training = TrainingApp(tmp_path / "runs")
    answers = asked(training, *(("127.0.0.1", "GET", path) for path in ("/", "/network", "/questions")))
    assert [answer.status_code for answer in answers] == [200, 200, 200] and list(tmp_path.iterdir()) == []
    (answer,) = asked(training, ("127.0.0.1", "GET", "/training/runs"))
    assert answer.json() == {"runs": []} and (tmp_path / "runs").is_dir()


@pytest.mark.parametrize(
    ("client", "headers", "steers"),
    [
        ("127.0.0.1", {}, True),
        ("127.9.9.9", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("192.0.2.7", {}, False),
        ("::ffff:192.0.2.7", {}, False),
        ("fe80::1", {}, False),
        ("", {}, False),
        ("testclient", {}, False),
        ("127.0.0.1", {"x-forwarded-for": "192.0.2.7"}, False),
        ("127.0.0.1", {"forwarded": "for=192.0.2.7"}, False),
        ("127.0.0.1", {"host": "lab.example"}, False),
        ("127.0.0.1", {"host": "127.0.0.1:8502"}, True),
        ("::1", {"host": "[::1]:8502"}, True),
        ("192.0.2.7", {"x-forwarded-for": "127.0.0.1"}, False),
    ],
)
def test_who_sits_at_the_machine_steers_and_all_others_look_on(tmp_path, client, headers, steers):
    about, order, unknown = asked(
        TrainingApp(tmp_path / "runs"),
        (client, "GET", "/training", headers),
        (client, "POST", "/training/runs", headers, {"epochs": -1}),
        (client, "GET", "/training/nothing", headers),
    )
    assert about.json()["read_only"] is not steers and bool(about.json()["commands"]) is steers
    assert order.status_code == (400 if steers else 403), order.text
    assert unknown.status_code == 404 and "no such path" in unknown.text


def test_behind_a_proxy_nobody_sits_at_the_machine(tmp_path):
    """A proxy may add no header: its own address says nothing about who asks."""
    (about,) = asked(TrainingApp(tmp_path / "runs", behind_proxy=True), ("127.0.0.1", "GET", "/training"))
    assert about.json()["read_only"] is True


def test_everyone_may_steer_if_the_server_was_started_so(tmp_path):
    training = TrainingApp(tmp_path / "runs", everyone=True)
    about, order = asked(
        training,
        ("192.0.2.7", "GET", "/training"),
        ("192.0.2.7", "POST", "/training/runs", {}, {"epochs": -1}),
    )
    assert about.json()["read_only"] is False and order.status_code == 400


def test_a_directory_that_cannot_be_used_is_told_without_its_name(tmp_path):
    (tmp_path / "file").write_text("")
    answers = asked(TrainingApp(tmp_path / "file"), ("127.0.0.1", "GET", "/training"), ("127.0.0.1", "GET", "/network"))
    assert [answer.status_code for answer in answers] == [503, 200]
    assert str(tmp_path) not in answers[0].text and "expected a directory" in answers[0].json()["error"]


def test_two_servers_do_not_share_a_directory(tmp_path):
    one, other = TrainingApp(tmp_path), TrainingApp(tmp_path)
    one.enter()
    (answer,) = asked(other, ("127.0.0.1", "GET", "/training"))
    assert answer.status_code == 503 and str(tmp_path) not in answer.text
    one.close()
    (answer,) = asked(TrainingApp(tmp_path), ("127.0.0.1", "GET", "/training"))
    assert answer.status_code == 200


def test_a_method_that_a_path_does_not_have(tmp_path):
    put, root = asked(
        TrainingApp(tmp_path), ("127.0.0.1", "PUT", "/training/runs"), ("127.0.0.1", "POST", "/network", {}, {})
    )
    assert put.status_code == root.status_code == 405
    assert put.json()["error"] == "expected GET or HEAD or POST, received PUT"
    assert root.json()["error"] == "expected GET or HEAD, received POST"


def test_a_unix_socket_is_no_machine():
    assert not sits_here({"headers": [], "client": None})
