"""`:explain` within this process: maps and nearest training images, what is refused, and what is not ready yet."""

import asyncio
import json
import threading

import numpy as np
import pytest
from helpers import asgi
from helpers.serving import NumPyNetwork

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("orjson", reason="the extra serve is not installed")

from starlette.requests import ClientDisconnect

from mnist_mlp.models import attribution
from mnist_mlp.models.neighbours import Neighbourhood, training_images
from mnist_mlp.serve import explanations, openapi
from mnist_mlp.serve.app import Service, make_app
from mnist_mlp.serve.examples import Examples
from mnist_mlp.serve.explanations import Explainer
from mnist_mlp.serve.limits import EXPLAINED, WAITING, Limits, Refused
from mnist_mlp.serve.model import About

EXPLAIN = "/v1/models/mnist:explain"
DEVICE = ("CPU", "numpy", ["CPU:0"], ["CPU:0"], "0")
ABOUT = About("run", "mlp", 109_386, [], "the embedded digits", list("0123456789"), 0.97, *DEVICE)
NETWORK = NumPyNetwork(16)
NOTE = "The training images are elsewhere."


@pytest.fixture(scope="module")
def explainer(digits):
    return Explainer(NETWORK.plain(), training_images(digits, 0.0, 0, 500), NOTE, 1.25)


@pytest.fixture
def ask(explainer):
    """Sends one request, by default to the server with `explainer`: (images, path, explainer, options) → answer."""

    def ask(images, path=EXPLAIN, explainer=explainer, method="POST", **options):
        service = Service(NETWORK, ABOUT, Examples(None), explainer, Limits())
        body = {"json": {"instances": images.tolist()}} if images is not None else {}
        return asyncio.run(asgi.request(make_app(service), method, path, **body, **options))

    return ask


def refused(answer, status, words):
    assert answer.status_code == status and words in answer.json()["error"], answer.text


def test_each_image_has_maps_and_neighbours(ask, explainer, digits):
    images = digits.test.images[:3]
    answer = ask(images)
    assert answer.status_code == 200
    assert answer.json() == ask(images, "/v1/models/mnist/versions/1:explain").json()
    layers = NETWORK.plain()
    logits = attribution.outputs_of(layers, images)
    expected = Neighbourhood(layers, explainer.training).nearest(images, 8)
    found = answer.json()["explanations"]
    assert len(found) == 3
    for row, each in enumerate(found):
        order = np.argsort(-logits[row])
        assert [each["predicted"], each["against"]] == order[:2].tolist()
        assert each["margin"] == pytest.approx(logits[row][order[0]] - logits[row][order[1]], rel=1e-4)
        np.testing.assert_allclose(each["probabilities"], NETWORK.predict(images)[row], rtol=1e-5)
        weights = np.zeros((1, 10))
        weights[0, order[0]], weights[0, order[1]] = 1, -1
        for name, compute in (
            ("gradient_times_input", attribution.gradient_times_input),
            ("occlusion", attribution.occlusion),
        ):
            (map_of_ink,) = compute(layers, images[row : row + 1], weights)
            np.testing.assert_allclose(each[name], map_of_ink, rtol=1e-3, atol=1e-5)
            assert np.abs(map_of_ink).max() > 0.01
        neighbours = each["neighbours"]
        assert {key: neighbours[key] for key in ("layer", "compared", "trained_on", "pending", "note")} == {
            **{"layer": "hidden_2", "compared": 500, "trained_on": len(digits.train), "pending": False, "note": ""}
        }
        assert neighbours["median_distance"] == pytest.approx(expected.medians[row], rel=1e-4)
        assert len(neighbours["images"]) == 8
        for known, distance in zip(neighbours["images"], expected.distances[row], strict=True):
            assert known["distance"] == pytest.approx(distance, rel=1e-3)
            assert known["label"] == digits.train.labels[known["index"]]
            np.testing.assert_array_equal(known["image"], digits.train.images[known["index"]])


def test_the_class_to_compare_with_can_be_chosen(ask, digits):
    image = digits.test.images[:1]
    first = ask(image).json()["explanations"][0]
    other = next(each for each in range(10) if each not in (first["predicted"], first["against"]))
    second = ask(image, f"{EXPLAIN}?against={other}").json()["explanations"][0]
    assert second["against"] == other and second["margin"] > first["margin"]
    assert second["occlusion"] != first["occlusion"] and second["neighbours"] == first["neighbours"]
    same = ask(image, f"{EXPLAIN}?against={first['predicted']}").json()["explanations"][0]
    assert same == first  # no class is compared with itself
    for text in ("10", "x", "-1", "1.0", "", "\u0661"):
        refused(ask(image, f"{EXPLAIN}?against={text}"), 400, "against: expected a whole number from 0 to 9")


def test_the_limits_and_errors_are_those_of_the_server(ask, digits):
    many = digits.test.images[: EXPLAINED + 1]
    assert len(ask(many[:-1]).json()["explanations"]) == EXPLAINED
    refused(ask(many), 400, "at most 10 images to explain, received 11")
    refused(ask(None, content=b"{}"), 400, "expected either instances or inputs, received neither")
    refused(ask(None, content=b" " * (Limits().body + 1)), 413, "at most 8,388,608 bytes")
    refused(ask(many[:1], headers={"origin": "http://evil.example"}), 403, "this server's page")
    refused(ask(None, method="GET"), 405, "expected POST, received GET")


def test_the_temperature_of_a_calibrated_run_is_told(ask, digits):
    assert ask(digits.test.images[:1]).json()["explanations"][0]["temperature"] == 1.25
    plain = Explainer(NETWORK.plain(), None)
    assert ask(digits.test.images[:1], explainer=plain).json()["explanations"][0]["temperature"] is None


def test_without_training_images_there_are_maps_only(ask, digits):
    (found,) = ask(digits.test.images[:1], explainer=Explainer(NETWORK.plain(), None, NOTE)).json()["explanations"]
    assert np.abs(found["occlusion"]).max() > 0
    assert found["neighbours"] == {
        **{"layer": "", "compared": 0, "trained_on": 0, "median_distance": None},
        **{"images": [], "pending": False, "note": NOTE},
    }


def test_an_answer_does_not_wait_long_for_the_training_images(ask, digits, explainer, monkeypatch):
    release, built = threading.Event(), []

    def slow(layers, known):
        assert release.wait(60)
        built.append(Neighbourhood(layers, known))
        return built[-1]

    monkeypatch.setattr(explanations, "Neighbourhood", slow)
    monkeypatch.setattr(explanations, "PATIENCE", 0.05)
    fresh = Explainer(NETWORK.plain(), explainer.training)
    for _ in range(2):
        (found,) = ask(digits.test.images[:1], explainer=fresh).json()["explanations"]
        assert found["neighbours"]["pending"] and "ask again" in found["neighbours"]["note"]
        assert np.abs(found["occlusion"]).max() > 0
    release.set()
    fresh.building.result()
    (found,) = ask(digits.test.images[:1], explainer=fresh).json()["explanations"]
    assert len(found["neighbours"]["images"]) == 8 and len(built) == 1


async def present():
    return False


async def gone():
    return True


def test_those_who_no_longer_wait_cost_the_others_no_time(digits, monkeypatch):
    explainer = Explainer(NETWORK.plain(), None)
    computed, images = [], digits.test.images[:1]
    original = explainer.computed
    monkeypatch.setattr(explainer, "computed", lambda *of: computed.append(of) or original(*of))

    async def go():
        clients = [present, *[gone] * (WAITING - 2), present]
        asked = [explainer.explain(images, NETWORK.predict(images), None, client) for client in clients]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(go())
    assert isinstance(found[0], list) and isinstance(found[-1], list) and len(computed) == 2
    assert all(isinstance(each, ClientDisconnect) for each in found[1:-1])
    assert explainer.waiting == 0


def test_the_app_knows_who_no_longer_waits(digits, explainer, monkeypatch):
    computed = []
    monkeypatch.setattr(explainer, "computed", lambda *of: computed.append(of))
    app = make_app(Service(NETWORK, ABOUT, Examples(None), explainer, Limits()))
    body = json.dumps({"instances": digits.test.images[:1].tolist()}).encode()
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive():
        return next(messages, {"type": "http.disconnect"})

    async def send(message):
        assert message["type"] != "http.response.start" or message["status"] != 200

    async def go():
        headers = [(b"host", b"localhost"), (b"content-length", str(len(body)).encode())]
        scope = {
            "type": "http",
            "method": "POST",
            "path": EXPLAIN,
            "query_string": b"",
            "headers": headers,
            "state": {},
        }
        await app(scope, receive, send)

    asyncio.run(go())
    assert computed == []


def test_too_many_at_once_are_refused(explainer, digits):
    images = digits.test.images[:1]

    async def go():
        asked = [explainer.explain(images, NETWORK.predict(images), None, present) for _ in range(WAITING + 3)]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(go())
    late = [each for each in found if isinstance(each, Refused)]
    assert len(late) == 3 and all(each.status == 429 for each in late) and explainer.waiting == 0
    assert len([each for each in found if isinstance(each, list)]) == WAITING


def test_the_document_describes_the_answer(ask, digits):
    schemas = openapi.schemas(Limits())
    (found,) = ask(digits.test.images[:1]).json()["explanations"]
    described = schemas["Explanations"]["properties"]["explanations"]["items"]
    assert list(described["properties"]) == described["required"] == list(found)
    neighbours = described["properties"]["neighbours"]
    assert {*neighbours["properties"]} == {*found["neighbours"]}
    assert {*neighbours["properties"]["images"]["items"]["properties"]} == {*found["neighbours"]["images"][0]}
    document = ask(None, "/openapi.json", method="GET").json()
    asked = document["paths"][EXPLAIN]["post"]
    assert [each["name"] for each in asked["parameters"]] == ["against"] and "requestBody" in asked
    assert schemas["Few"]["properties"]["instances"]["anyOf"][0]["maxItems"] == EXPLAINED


def test_explanations_are_counted_by_their_path(digits, explainer):
    service = Service(NETWORK, ABOUT, Examples(None), explainer, Limits())
    body = {"instances": digits.test.images[:1].tolist()}
    asyncio.run(asgi.request(make_app(service), "POST", EXPLAIN, json=body))
    assert f'mnist_requests_total{{route="{EXPLAIN}",status="200"}} 1.0' in service.metrics.text().decode()
