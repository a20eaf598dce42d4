"""The server within this process: TensorFlow Serving's API, what is refused and how, batches, metrics, the page.

The network is one of NumPy, except where the test is about the network.
"""

import asyncio
import base64
import dataclasses
import gzip
import io
import json
import re
import threading
import types

import numpy as np
import pytest
from helpers import asgi
from helpers.serving import NumPyNetwork
from PIL import Image

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("orjson", reason="the extra serve is not installed")

from mnist_mlp.data.pictures import decode, reading
from mnist_mlp.errors import UserError
from mnist_mlp.models import portable
from mnist_mlp.models.neighbours import training_images
from mnist_mlp.serve.app import PAGE, Service, make_app
from mnist_mlp.serve.batching import Batches
from mnist_mlp.serve.examples import Examples
from mnist_mlp.serve.explanations import Explainer
from mnist_mlp.serve.limits import WAITING, Limits, Refused
from mnist_mlp.serve.model import About, Network
from mnist_mlp.serve.origins import access_to, host_name, is_loopback

PREDICT = "/v1/models/mnist:predict"
HIDDEN = [("hidden_1", 128), ("hidden_2", 64)]
ABOUT = About(
    "run",
    "mlp",
    109_386,
    HIDDEN,
    "the embedded digits",
    list("0123456789"),
    0.97,
    "CPU",
    "tensorflow",
    ["CPU:0"],
    ["CPU:0"],
    "0",
)
LIMITS = Limits(body=200_000, instances=20, seconds=5.0)


def engine_of(name="mlp"):
    from mnist_mlp.engine.base import DeviceSet
    from mnist_mlp.engine.tensorflow.engine import TensorFlowEngine
    from mnist_mlp.models import networks

    return TensorFlowEngine(networks.build(name, seed=3), None, {}, 64, DeviceSet("CPU"))


@pytest.fixture(scope="module")
def engine():
    return NumPyNetwork(16)


@pytest.fixture(scope="module")
def service(engine, digits):
    return service_of(engine, engine.plain(), digits)


def service_of(network, layers, digits):
    explainer = Explainer(layers, training_images(digits, 0.0, 0, 2000))
    return Service(network, ABOUT, Examples(digits.test), explainer, LIMITS)


@pytest.fixture
def ask(service):
    """Sends requests, all at once, to one application: a list of (method, path, options)."""
    return asking(service)


def asking(service):
    def ask(*requests, host="127.0.0.1", **access):
        async def send():
            app = make_app(service, access_to(host, **access))
            return await asyncio.gather(*(asgi.request(app, *words, **options) for *words, options in requests))

        answers = asyncio.run(send())
        return answers if len(answers) > 1 else answers[0]

    return ask


def png(image, side=28):
    file = io.BytesIO()
    Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    for word in words:
        assert word in answer.json()["error"]


def test_status_and_metadata_are_tensorflow_servings(ask):
    state = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for place in ("/v1/models/mnist", "/v1/models/mnist/versions/1"):
        assert ask(("GET", place, {})).json() == {"model_version_status": [state]}
        metadata = ask(("GET", f"{place}/metadata", {})).json()
        assert metadata["model_spec"] == {"name": "mnist", "signature_name": "", "version": "1"}
        signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
        assert signature["method_name"] == "tensorflow/serving/predict"
        shape = signature["inputs"]["images"]["tensor_shape"]["dim"]
        assert [each["size"] for each in shape] == ["-1", "28", "28"]


def test_same_image_same_probabilities_in_every_form(ask, engine, digits):
    images = digits.test.images[:5]
    expected = engine.predict(images)
    rows, shares = images.tolist(), (images / 255).tolist()
    with_channel, flat = images[..., None].tolist(), images.reshape(-1, 784).tolist()
    bodies = [
        *({"instances": each} for each in (rows, shares, with_channel, flat)),
        {"instances": [{"images": row} for row in rows], "signature_name": "serving_default"},
        *({"inputs": each} for each in (rows, shares, {"images": rows})),
    ]
    for body in bodies:
        for place in (PREDICT, "/v1/models/mnist/versions/1:predict"):
            answer = ask(("POST", place, {"json": body}))
            key = "predictions" if "instances" in body else "outputs"
            assert answer.status_code == 200 and list(answer.json()) == [key]
            np.testing.assert_allclose(np.array(answer.json()[key], np.float32), expected, rtol=2e-6, atol=1e-9)


def test_pictures_are_framed_as_predict_frames_them(ask, engine, digits):
    image = digits.test.images[7]
    picture = png(255 - image, 300)
    levels = decode.read(io.BytesIO(base64.b64decode(picture)), "it")
    expected = engine.predict(np.stack([reading.digit_in(levels).image, image]))
    instances = [{"b64": picture}, image.tolist()]  # a picture and an array
    answers = [
        ask(("POST", PREDICT, {"json": {"instances": instances}})).json()["predictions"],
        ask(("POST", PREDICT, {"json": {"inputs": {"images": instances}}})).json()["outputs"],
        ask(("POST", PREDICT, {"json": {"instances": [{"images": each} for each in instances]}})).json()["predictions"],
    ]
    for found in answers:
        np.testing.assert_allclose(np.array(found, np.float32), expected, rtol=2e-6, atol=1e-9)


def test_numbers_mean_the_same_with_and_without_a_point(ask, engine):
    ones, true = np.ones((28, 28), int).tolist(), np.ones((28, 28), bool).tolist()
    half = [[0.5] * 28] * 28
    shares, whole = np.ones((28, 28)).tolist(), np.full((28, 28), 34.0).tolist()
    for instances, levels in (
        *(([ones], [255]), ([ones, half], [255, 128]), ([shares], [255]), ([true], [255])),
        ([whole, [[17] * 28] * 28], [34, 17]),
    ):
        found = ask(("POST", PREDICT, {"json": {"instances": instances}})).json()["predictions"]
        images = np.stack([np.full((28, 28), level, np.uint8) for level in levels])
        np.testing.assert_allclose(np.array(found, np.float32), engine.predict(images), rtol=2e-6, atol=1e-9)


def changed(value, *, row=3, column=4, rest=0):
    image = [[rest] * 28 for _ in range(28)]
    image[row][column] = value
    return image


@pytest.mark.parametrize(
    "value, rest, words",
    [
        (256, 0, "a whole number from 0 to 255, received 256"),
        (-1, 0, "received -1"),
        (1.5, 0, "0–1, since one of the numbers is not an integer, received 1.5"),
        (255, 0.5, "0–1, since one of the numbers is not an integer, received 255"),
        (-1.0, 0.5, "0–1, since one of the numbers is not an integer, received -1.0"),
        (256.0, 0, "a whole number from 0 to 255, received 256.0"),
        (10**25, 0, "received 1e+25"),
        (2**64 - 1, 0, "received 18446744073709551615"),
        (True, 0, "received true or false"),
        (None, 0, "received null"),
        ("7" * 100_000, 0, "received the text"),
        ({}, 0, "received an object"),
        ([], 0, "received an empty list"),
        ([1], 0, "received a list of 1"),
    ],
)
def test_the_place_of_a_wrong_value_is_named(ask, value, rest, words):
    good = np.zeros((28, 28), int).tolist()
    body = {"instances": [good, good, changed(value, rest=rest)]}
    refused(ask(("POST", PREDICT, {"json": body})), 400, "instances[2][3][4]: expected", words)


@pytest.mark.parametrize(
    "body, words",
    [
        (b"", "expected JSON in UTF-8"),
        (b"{", "expected JSON in UTF-8"),
        (b'{"instances": [[NaN]]}', "JSON has no NaN or Infinity"),
        (b'{"instances": [[1e999]]}', "infinity"),
        (b"\xff\xfe", "UTF-8"),
        (b"[" * 100_000, "expected JSON"),
        (b"[" * 900 + b"]" * 900, "expected a JSON object with instances or inputs, received a list of 1"),
        (b"7", "received a number"),
        (b"null", "received null"),
        (b"{}", "expected either instances or inputs, received neither"),
        (b'{"instances": [], "inputs": []}', "received both"),
        (b'{"instances": []}', "instances: expected a list of at least one image, received an empty list"),
        (b'{"instances": {"b64": "AAAA"}}', "instances: expected a list"),
        (b'{"instances": "AAAA"}', "instances: expected a list"),
        (b'{"instances": [5]}', "instances[0]: expected an image of 28×28"),
        (b'{"instances": [[]]}', "received an empty list"),
        (b'{"instances": [[1, 2]]}', "received a list of 2"),
        (b'{"inputs": {"pixels": []}}', "expected the input 'images'"),
        (b'{"inputs": {}}', "no input"),
        (b'{"instances": [{"images": [], "more": 1}]}', "expected the input 'images'"),
        (b'{"instances": [{"b64": 5}]}', "instances[0].b64: expected the base64 of a picture, received a number"),
        (b'{"instances": [{"b64": "?"}]}', "instances[0].b64: expected the base64 of a picture"),
        (b'{"instances": [{"b64": ""}]}', "expected a picture, received an empty file"),
        (b'{"instances": [{"b64": "AAAAAAAA"}]}', "expected a picture (PNG, JPEG"),
        (b'{"instances": [[1]], "signature_name": "other"}', "signature_name: expected serving_default"),
        (b'{"instances": [[1]], "signature_name": ["x"]}', "signature_name: expected serving_default"),
    ],
)
def test_what_cannot_be_read_is_said(ask, body, words):
    refused(ask(("POST", PREDICT, {"content": body})), 400, words)


def test_ragged_images(ask):
    image = np.zeros((28, 28), int).tolist()
    image[5] = image[5][:27]
    refused(ask(("POST", PREDICT, {"json": {"instances": [image]}})), 400, "instances[0][5]: expected a row of 28")
    channel = np.zeros((28, 28, 1), int).tolist()
    channel[2][1] = [0, 0]
    refused(
        ask(("POST", PREDICT, {"json": {"instances": [channel]}})), 400, "instances[0][2][1]: expected a list of one"
    )
    refused(ask(("POST", PREDICT, {"json": {"instances": [[image] * 28]}})), 400, "instances[0]")


def test_limits(ask):
    many = b'{"instances":[' + b"0," * 50_000 + b"0]}"
    refused(ask(("POST", PREDICT, {"content": many})), 400, "at most 20 images, received 50,001")
    refused(ask(("POST", PREDICT, {"content": b" " * 200_001})), 413, "at most 200,000 bytes")

    async def chunks():  # without a content-length
        for _ in range(300):
            yield b" " * 1000

    refused(ask(("POST", PREDICT, {"content": chunks()})), 413, "at most 200,000 bytes")
    bomb = io.BytesIO()
    Image.new("1", (8000, 8000)).save(bomb, "PNG")
    picture = {"b64": base64.b64encode(bomb.getvalue()).decode()}
    refused(ask(("POST", PREDICT, {"json": {"instances": [picture]}})), 413, "at most 40,000,000 pixels")


def test_kinds_of_bodies(ask, digits):
    content = json.dumps({"instances": digits.test.images[:1].tolist()}).encode()
    for kind in ("application/json; charset=utf-8", "text/plain", "application/x-www-form-urlencoded"):  # curl -d
        assert ask(("POST", PREDICT, {"content": content, "headers": {"content-type": kind}})).status_code == 200
    for kind in ("image/png", "multipart/form-data; boundary=x", "application/xml"):
        refused(ask(("POST", PREDICT, {"content": content, "headers": {"content-type": kind}})), 415, "expected JSON")
    packed = {"content": gzip.compress(content), "headers": {"content-encoding": "gzip"}}
    refused(ask(("POST", PREDICT, packed)), 415, "not compressed")


def test_places_that_are_not_there(ask):
    refused(ask(("GET", "/v1/models/other", {})), 404, "Servable not found for request: Latest(other)")
    refused(ask(("POST", "/v1/models/other:predict", {"json": {}})), 404, "Latest(other)")
    refused(ask(("GET", "/v1/models/mnist/versions/2", {})), 404, "Specific(mnist, 2)")
    refused(ask(("POST", "/v1/models/mnist/versions/2:predict", {"json": {}})), 404, "Specific(mnist, 2)")
    refused(ask(("GET", "/v1/models/mnist/labels/stable", {})), 404)
    refused(ask(("GET", "/nowhere", {})), 404, "/docs")
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = ask((method, PREDICT, {}))
        refused(answer, 405, f"expected POST, received {method}")
        assert answer.headers["allow"] == "POST"


def test_only_its_own_page_may_ask(ask):
    body = {"json": {"instances": [[[0] * 28] * 28]}}
    assert ask(("POST", PREDICT, body | {"headers": {"origin": "http://localhost"}})).status_code == 200
    for origin in ("http://evil.example", "null", "http://localhost:81", "http://[", "localhost"):
        refused(ask(("POST", PREDICT, body | {"headers": {"origin": origin}})), 403, "this server's page")
    for host in ("127.0.0.1:8501", "[::1]:8501", "LOCALHOST"):
        assert ask(("GET", "/healthz", {"headers": {"host": host}})).status_code == 200
    refused(ask(("GET", "/healthz", {"headers": {"host": "evil.example"}})), 403, "evil.example")
    assert ask(("GET", "/healthz", {"headers": {"host": "lab.example:80"}}), host="0.0.0.0").status_code == 200
    assert "access-control-allow-origin" not in ask(("GET", "/healthz", {})).headers


def test_names():
    assert [host_name(host) for host in ("a:80", "a", "[::1]:5", "[::1]", "A")] == ["a", "a", "::1", "::1", "a"]
    assert [is_loopback(host) for host in ("127.0.0.2", "::1", "localhost", "0.0.0.0", "box")] == [True] * 3 + [
        False
    ] * 2


def test_look(ask, engine, digits):
    image = digits.test.images[3]
    answer = ask(("POST", "/page/look", {"json": {"instances": [image.tolist()]}})).json()
    np.testing.assert_array_equal(answer["image"], image)
    assert [(layer["name"], len(layer["activations"])) for layer in answer["layers"]] == [
        ("hidden_1", 128),
        ("hidden_2", 64),
    ]
    for layer, expected in zip(answer["layers"], engine.forward(image[None]), strict=False):
        np.testing.assert_allclose(layer["activations"], expected[0], rtol=1e-6)
    np.testing.assert_allclose(answer["probabilities"], engine.predict(image[None])[0], rtol=1e-5)
    two = {"json": {"instances": [image.tolist()] * 2}}
    refused(ask(("POST", "/page/look", two)), 400, "expected one image, received 2")


@pytest.mark.slow
def test_the_network_of_a_framework(digits):
    """Behind the same routes: probabilities of requests of every size, and every hidden neuron, worked out anew."""
    engine = engine_of()
    network = Network(engine, 16)
    network.compile()
    assert network.sizes == [1, 4, 16]
    ask, weights = asking(service_of(network, portable.layers_of(engine.model), digits)), engine.state()

    def layers_of(images):
        x, found = images.reshape(-1, 784).astype(np.float64) / 255, []
        for name, _ in HIDDEN:
            kernel, bias = (weights[f"model/{name}/{part}"] for part in ("kernel", "bias"))
            x = np.maximum(x @ kernel + bias, 0)
            found.append(x)
        return found

    for count in (1, 3, 4, 5, 16, 20):
        images = digits.test.images[:count]
        found = ask(("POST", PREDICT, {"json": {"instances": images.tolist()}})).json()["predictions"]
        np.testing.assert_allclose(np.array(found, np.float32), engine.predict(images), rtol=2e-6, atol=1e-9)
    image = digits.test.images[3]
    answer = ask(("POST", "/page/look", {"json": {"instances": [image.tolist()]}})).json()
    for layer, expected in zip(answer["layers"], layers_of(image), strict=True):
        np.testing.assert_allclose(layer["activations"], expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name, units", [("softmax", []), ("mlp_dropout", [128, 64]), ("cnn", [32, 64])])
def test_layers_of_other_networks(name, units, digits):
    """All engines: a channel of a convolution counts by its largest value."""
    from mnist_mlp.engine.base import DeviceSet
    from mnist_mlp.engine.keras_fit import FitEngine

    engine = engine_of(name)
    for each in (engine, FitEngine(engine.model, None, {}, 64, DeviceSet("CPU"))):
        *hidden, probabilities = Network(each, 4).forward(digits.test.images[:3])
        assert [output.shape for output in hidden] == [(3, n) for n in units]
        np.testing.assert_allclose(probabilities, engine.predict(digits.test.images[:3]), rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_a_network_that_diverged_is_not_served():
    engine = engine_of()
    engine.model.trainable_variables[0].assign(np.full((784, 128), np.nan))
    with pytest.raises(UserError, match="predicts nan: its training diverged"):
        Network(engine, 4).compile()


def test_examples(ask, digits):
    first, second = (ask(("GET", f"/page/examples?round={k}", {})).json() for k in (0, 1))
    for k, answer in enumerate((first, second)):
        assert [each["label"] for each in answer["examples"]] == list(range(10))
        for each in answer["examples"]:
            assert each["index"] == np.flatnonzero(digits.test.labels == each["label"])[k]
            np.testing.assert_array_equal(each["image"], digits.test.images[each["index"]])
    again = ask(("GET", f"/page/examples?round={first['rounds']}", {})).json()
    assert again == first
    refused(ask(("GET", "/page/examples?round=x", {})), 400, "round: expected a whole number")
    assert Examples(None, "gone").round(3) == {"rounds": 0, "note": "gone", "examples": []}


def test_metrics(ask, digits):
    body = {"json": {"instances": digits.test.images[:3].tolist()}}
    before = ask(("GET", "/metrics", {})).text
    ask(("POST", PREDICT, body))
    ask(("POST", PREDICT, {"content": b"{"}), ("GET", "/x/y/z", {}))
    after = ask(("GET", "/metrics", {})).text
    name = f'mnist_requests_total{{route="{PREDICT}",status="%d"}}'
    assert value(after, name % 200) - value(before, name % 200) == 1
    assert value(after, name % 400) - value(before, name % 400) == 1
    assert value(after, "mnist_images_total") - value(before, "mnist_images_total") == 3
    assert value(after, f'mnist_request_seconds_count{{route="{PREDICT}"}}') >= 2
    assert 'route="other",status="404"' in after and "/x/y/z" not in after
    assert value(after, "process_resident_memory_bytes") > 1e6
    assert value(after, "mnist_requests_in_flight") == 1  # itself


def value(text, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_the_page_asks_nobody_else(ask):
    """Every file is here, nothing in it names another host, and no script or style stands within the HTML."""
    total = 0
    for place in ("/", "/docs", *(f"/page/{file.name}" for file in PAGE.iterdir() if file.suffix != ".html")):
        answer = ask(("GET", place, {}))
        assert answer.status_code == 200 and ask(("HEAD", place, {})).status_code == 200
        total += len(answer.content)
        foreign = set(re.findall(r"https?://[^/\"']+", answer.text)) - {"http://www.w3.org"}  # a name of SVG
        assert not foreign, place
        if place in ("/", "/docs"):
            assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", answer.text)
            for link in re.findall(r"(?:src|href)=\"(/[^\"]*)\"", answer.text):
                assert ask(("GET", link, {})).status_code == 200, link
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert total < 300_000


def test_openapi_names_every_route_and_nothing_else(ask):
    found = ask(("GET", "/openapi.json", {})).json()
    models_, version = ("/v1/models/mnist", "/v1/models/mnist/versions/1")
    expected = {f"{place}{end}" for place in (models_, version) for end in ("", "/metadata", ":predict", ":explain")}
    assert set(found["paths"]) == expected | {"/healthz", "/metrics", "/page/look", "/page/examples"}
    text = json.dumps(found)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in found["components"]["schemas"]
    example = found["paths"][PREDICT]["post"]["requestBody"]["content"]["application/json"]["example"]
    answer = ask(("POST", PREDICT, {"json": example}))
    assert answer.status_code == 200, answer.text


def test_images_that_wait_go_together():
    """The first call takes what is there; while it runs the rest gathers, and is cut where a batch is full."""
    sizes = []

    def call(images):
        sizes.append(len(images))
        return [images[:, 0, 0].astype(float)]

    async def go():
        batches = Batches(call, 8, lambda size: None)
        pictures = [np.full((n, 28, 28), index, np.uint8) for index, n in enumerate((1, 3, 2, 20, 7, 1))]
        found = await asyncio.gather(*map(batches.forward, pictures))
        for index, (images, (output,)) in enumerate(zip(pictures, found, strict=True)):
            assert output.tolist() == [index] * len(images)
        assert batches.waiting == 0 and not batches.busy

    asyncio.run(go())
    assert sum(sizes) == 34 and max(sizes) <= 8 and sizes[0] == 6


def test_too_many_that_wait_are_refused_and_errors_reach_those_who_asked():
    async def go():
        def call(images):
            if images[0, 0, 0] == 9:
                raise ValueError("broken")
            return [images[:, 0, 0]]

        batches = Batches(call, 4, lambda size: None)
        many = [asyncio.create_task(batches.forward(np.zeros((4, 28, 28), np.uint8))) for _ in range(WAITING + 5)]
        results = await asyncio.gather(*many, return_exceptions=True)
        busy = [each for each in results if isinstance(each, Refused)]
        assert busy and all(each.status == 429 for each in busy) and len(busy) < 10
        with pytest.raises(ValueError, match="broken"):
            await batches.forward(np.full((1, 28, 28), 9, np.uint8))
        assert (await batches.forward(np.zeros((1, 28, 28), np.uint8)))[0].tolist() == [0]

    asyncio.run(go())


def test_a_key_written_with_escapes_is_no_way_past_the_threads(monkeypatch):
    from mnist_mlp.serve.request_bodies import BodyReader

    bodies, threads = BodyReader(LIMITS), []
    monkeypatch.setattr(
        "mnist_mlp.serve.request_bodies.request_images.read",
        lambda body, limits, read_picture=None: threads.append(threading.current_thread().name),
    )
    picture, array = b'["data:image/png;base64,AAAA"]', b'[[[0, 1, 2], [3.25, 0.0, 1e-7]]], "signature_name": ""'
    for instances in (b'[{"b\\u00364": ""}]', b'[{"b64": ""}]', b'["%s"]' % (b"A" * 40), picture, b"[]", array):
        asyncio.run(bodies.parse(b'{"instances": %s}' % instances))
    assert [name.startswith("bodies") for name in threads] == [True] * 4 + [False] * 2


def test_a_fault_of_the_server_is_told(service, digits):
    def broken(images):
        raise RuntimeError("the device is lost")

    app = make_app(dataclasses.replace(service, network=types.SimpleNamespace(forward=broken, sizes=[16], names=[])))
    sent = []

    async def ask():
        scope = {"type": "http", "method": "POST", "path": PREDICT, "raw_path": PREDICT.encode(), "query_string": b""}
        scope |= {"headers": [(b"host", b"localhost")], "http_version": "1.1", "scheme": "http"}
        body = json.dumps({"instances": [digits.test.images[0].tolist()]}).encode()

        async def receive():
            return {"type": "http.request", "body": body}

        async def send(message):
            sent.append(message)

        await app(scope, receive, send)

    with pytest.raises(RuntimeError, match="the device is lost"):  # for the log
        asyncio.run(ask())
    assert sent[0]["status"] == 500 and list(json.loads(sent[1]["body"])) == ["error"]
