"""The parts of the server one by one, without a socket: bodies, answers, limits of a connection, counts, the schema."""

import base64
import io
import resource
import time
from types import SimpleNamespace

import numpy as np
import orjson
import pytest
import uvicorn
from PIL import Image
from uvicorn.server import ServerState

from mnist_mlp.data import Split
from mnist_mlp.serve import connections, metrics, openapi, request_images, responses, server
from mnist_mlp.serve.examples import Examples
from mnist_mlp.serve.limits import CONNECTIONS, HEAD, Limits, Refused

LIMITS = Limits(instances=3)
BLANK = [[0] * 28 for _ in range(28)]


def read(limits=LIMITS, **document) -> request_images.PredictRequest:
    return request_images.read(orjson.dumps(document), limits)


def refused(limits=LIMITS, status=400, **document) -> str:
    with pytest.raises(Refused) as error:
        read(limits, **document)
    assert error.value.status == status
    return str(error.value)


def with_pixel(value, row=0, column=0):
    image = [list(line) for line in BLANK]
    image[row][column] = value
    return image


def png(width=28, height=28, grey=255) -> str:
    file = io.BytesIO()
    picture = Image.new("L", (width, height), grey)
    picture.paste(0, (width // 2 - 2, height // 4, width // 2 + 2, 3 * height // 4))
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


# The images in a body


def test_the_shapes_of_an_image_are_the_same_image():
    level = [[(7 * row + column) % 256 for column in range(28)] for row in range(28)]
    flat = [value for row in level for value in row]
    deep = [[[value] for value in row] for row in level]
    found = read(instances=[level, flat, deep])
    assert found.images.dtype == np.uint8 and found.images.shape == (3, 28, 28) and not found.columnar
    for image in found.images:
        np.testing.assert_array_equal(image, level)


def test_inputs_are_answered_in_columns_by_their_name_or_without():
    for inputs in ([with_pixel(90)], {"images": [with_pixel(90)]}, [{"images": with_pixel(90)}]):
        found = read(inputs=inputs)
        assert found.columnar and found.images.shape == (1, 28, 28) and found.images[0, 0, 0] == 90
    assert not read(instances=[{"images": with_pixel(90)}], signature_name="serving_default").columnar
    assert read(instances=[BLANK], signature_name="").images.sum() == 0


def test_whole_numbers_are_levels_and_shares_are_of_255():
    assert read(instances=[with_pixel(255)]).images.max() == 255
    assert read(instances=[with_pixel(1)]).images.max() == 255  # full ink: JavaScript writes 1.0 so
    assert read(instances=[with_pixel(1.0)]).images.max() == 255  # full ink
    assert read(instances=[with_pixel(34.0)]).images.max() == 34  # beyond 1 and whole: a level
    shares = read(instances=[with_pixel(0.5), with_pixel(1), with_pixel(0.3)]).images[:, 0, 0]
    assert shares.tolist() == [128, 255, 76]  # 127.5 to the even one, 255 · 0.3 = 76.5 to the even one
    assert read(instances=[with_pixel(255.0)]).images.max() == 255


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (with_pixel(256, 2, 3), "instances[0][2][3]: expected a whole number from 0 to 255, received 256"),
        (with_pixel(-1, 27, 27), "instances[0][27][27]: expected a whole number from 0 to 255, received -1"),
        (
            with_pixel(255.5, 1, 0),
            "instances[0][1][0]: expected 0–1, since one of the numbers is not an integer, receiv",
        ),
        (with_pixel(-0.1), "instances[0][0][0]: expected 0–1, since one"),
        (with_pixel(True, 0, 5), "instances[0][0][5]: expected a whole number from 0 to 255, received true or false"),
        (with_pixel(None, 3, 1), "instances[0][3][1]: expected a whole number from 0 to 255, received null"),
        (with_pixel("a"), "instances[0][0][0]: expected a whole number from 0 to 255, received the text 'a'"),
        ([0] * 783 + [300], "instances[0][783]: expected a whole number from 0 to 255, received 300"),
        (BLANK[:27], "instances[0]: expected an image of 28×28, 28×28×1 or 784 numbers, received a list of 27"),
        ([*BLANK[:27], [0] * 27], "instances[0][27]: expected a row of 28 numbers, received a list of 27"),
        ([*BLANK[:4], 7, *BLANK[5:]], "instances[0][4]: expected a row of 28 numbers, received a number"),
        (
            [[[1]] * 28] * 27 + [[[1]] * 27 + [[1, 2]]],
            "instances[0][27][27]: expected a list of one number, received a",
        ),
        ("7", "instances[0]: expected an image of 28×28, 28×28×1 or 784 numbers, or {'b64': …}, received the text '7'"),
        ({"picture": 1}, "instances[0]: expected the input 'images', or {'b64': …}, received 'picture'"),
        ({}, "instances[0]: expected the input 'images', or {'b64': …}, received no input"),
        ({"b64": 5}, "instances[0].b64: expected the base64 of a picture, received a number"),
        ({"b64": "*"}, "instances[0].b64: expected the base64 of a picture, received the character '*'"),
        ({"b64": "https://a/b.png"}, "instances[0].b64: expected the base64 of a picture, received a URL; send the"),
        ({"b64": "AAAAA"}, "instances[0].b64: expected the base64 of a picture, received a part of it"),
        ({"b64": "data:image/svg+xml,%3Csvg"}, "instances[0].b64: expected a data URL in base64, received 'data:image"),
        (
            with_pixel(9),
            "instances[0]: expected grey levels 0–255 or ink 0–1, received an image whose highest number i",
        ),
        (with_pixel(65535), "instances[0][0][0]: expected a whole number from 0 to 255, received 65535; for 16 bits,"),
        (with_pixel(0.003), "instances[0]: expected ink 0–1, received an image with ink of at most 0.003; it may have"),
        ({"b64": "AAAA"}, "instances[0].b64: "),
    ],
)
def test_what_is_no_image_is_refused_at_its_place(image, words):
    assert refused(instances=[image]).startswith(words)


def test_the_place_of_an_array_counts_the_pictures_before_it():
    assert refused(instances=[{"b64": png()}, BLANK, with_pixel(256, 5, 6)]).startswith("instances[2][5][6]: ")
    found = read(instances=[with_pixel(17), {"b64": png()}, with_pixel(30)]).images
    assert found[[0, 2], 0, 0].tolist() == [17, 30] and found[1].max() > 200
    words = refused(instances=[{"b64": png()}, with_pixel(30), with_pixel(1)])
    assert words.startswith("instances[2]: ") and "others go up to 30: bring all images to the same scale" in words


def test_one_image_that_is_no_list_is_told_so():
    for image in (BLANK, [0] * 784):
        assert refused(Limits(), instances=image).endswith("received one image; write it as a list of one: [image]")


def test_base64_as_browsers_and_python_write_it():
    picture = png()
    expected = read(instances=[{"b64": picture}]).images
    content = base64.b64decode(picture)
    for text in (
        *(f"data:image/png;base64,{picture}", f"DATA:;base64,{picture}", base64.encodebytes(content).decode()),
        *(base64.urlsafe_b64encode(content).decode(), picture.rstrip("="), picture.replace("A", "A\r\n ", 3)),
    ):
        for instance in ({"b64": text}, text):  # the object, or its text alone
            np.testing.assert_array_equal(read(instances=[instance]).images, expected)
    assert refused(instances=["x" * 40]).startswith(
        "instances[0]: expected a picture (PNG, JPEG, WEBP, BMP, GIF, TIFF)"
    )


def test_a_body_has_one_list_of_as_many_images_as_allowed():
    assert len(read(instances=[BLANK] * 3).images) == 3
    assert refused(instances=[BLANK] * 4) == "instances: expected at most 3 images, received 4"
    assert refused(inputs=[]) == "inputs: expected a list of at least one image, received an empty list"
    assert refused(instances=7) == "instances: expected a list of at least one image, received a number"
    assert refused() == "expected either instances or inputs, received neither"
    assert refused(instances=[BLANK], inputs=[BLANK]) == "expected either instances or inputs, received both"
    assert refused(inputs={"x": [BLANK]}).startswith("inputs: expected the input 'images', or")
    assert refused(instances=[BLANK], signature_name="x") == "signature_name: expected serving_default, received 'x'"
    assert refused(signature_name=None) == "signature_name: expected serving_default, received null; omit it"
    for body, words in ((b"[1]", "a list of 1"), (b"{}", "neither"), (b"[]", "an empty list"), (b"null", "null")):
        with pytest.raises(Refused, match=words):
            request_images.read(body, LIMITS)


def test_only_what_json_does_not_know_gets_the_hint():
    with pytest.raises(Refused, match="JSON has no NaN or Infinity"):
        request_images.parse(b'{"instances": [NaN]}')
    with pytest.raises(Refused, match="JSON has no NaN or Infinity"):
        request_images.parse(b"[-Infinity]")
    with pytest.raises(Refused) as error:
        request_images.parse(b"{")
    assert "NaN" not in str(error.value) and error.value.status == 400


def test_pictures_may_have_so_many_pixels_together(monkeypatch):
    monkeypatch.setattr(request_images, "PIXELS", 2 * 28 * 30)
    assert len(read(instances=[{"b64": png(28, 30)}] * 2).images) == 2
    words = refused(status=413, instances=[{"b64": png(28, 30)}, {"b64": png(30, 29)}])
    assert words == "instances[1].b64: expected at most 1,680 pixels in all; send smaller pictures"


def test_pictures_are_not_read_after_the_time():
    entry = [{"b64": png()}]
    with pytest.raises(Refused, match=r"inputs\[0\].b64: reading the pictures takes too long") as error:
        request_images.images_of(entry, "inputs", time.monotonic() - 1)
    assert error.value.status == 413
    assert request_images.images_of(entry, "inputs", time.monotonic() + 60).shape == (1, 28, 28)


def test_the_size_of_a_picture_is_known_before_it_is_read(monkeypatch):
    content = base64.b64decode(png(40, 30))
    assert request_images.size_of(content) == 1200 and request_images.size_of(b"no picture") == 0
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert request_images.size_of(content) == request_images.PIXELS + 1


def test_values_in_words():
    values = ("1234", 1, 1.5, None, True, [])
    words = ["the text '1234'", "a number", "a number", "null", "true or false", "an empty list"]
    assert [request_images.described(value) for value in values] == words
    assert request_images.described([0] * 1234) == "a list of 1,234" and request_images.described({}) == "an object"
    assert request_images.truncated("a" * 58) == repr("a" * 58)  # 60 characters with its quotes
    assert request_images.truncated("a" * 59) == "'" + "a" * 56 + "..."
    assert request_images.truncated("a" * 200) == "str" and request_images.truncated([1]) == "list"


# The answers


def test_paths_that_lead_nowhere():
    assert responses.not_found("/v2") == "no such path: /v2; /docs lists all"
    assert responses.not_found("/" + "x" * 120).startswith("no such path: /" + "x" * 99 + ";")
    other = "Servable not found for request: Latest({}); the model is called mnist"
    assert responses.not_found("/v1/models/resnet:predict") == other.format("resnet")
    assert responses.not_found("/v1/models/" + "m" * 70 + "/versions/1") == other.format("m" * 60)
    version = "Servable not found for request: Specific(mnist, {}); its one version is 1"
    assert responses.not_found("/v1/models/mnist/versions/2:predict") == version.format("2")
    assert responses.not_found("/v1/models/mnist/versions/" + "9" * 30) == version.format("9" * 20)
    for path in ("/v1/models/mnist/versions/1/x", "/v1/models/mnist:other", "/v1/models/mnist/labels/a"):
        assert responses.not_found(path).startswith("no such path: " + path)


def test_answers_are_json_with_their_status():
    probabilities = np.array([[0.1, 0.9]], np.float32).T  # not contiguous
    assert orjson.loads(responses.predictions(probabilities, True).body) == {"outputs": [[0.1], [0.9]]}
    found = responses.predictions(np.float32([[1, 0]]), False)
    assert (found.status_code, found.media_type) == (200, "application/json")
    assert orjson.loads(found.body) == {"predictions": [[1.0, 0.0]]}
    late = responses.refusal(Refused(429, "too many"))
    assert late.status_code == 429 and late.headers["retry-after"] == "1"
    assert orjson.loads(late.body) == {"error": "too many"}
    assert "retry-after" not in responses.refusal(Refused(413, "too large")).headers


def test_the_metadata_are_of_one_input_and_one_output():
    (signature,) = responses.METADATA["metadata"]["signature_def"]["signature_def"].items()
    assert signature[0] == "serving_default"
    sizes = [
        [each["size"] for each in tensor["tensor_shape"]["dim"]]
        for tensor in (signature[1]["inputs"]["images"], signature[1]["outputs"]["probabilities"])
    ]
    assert sizes == [["-1", "28", "28"], ["-1", "10"]]
    assert not signature[1]["inputs"]["images"]["tensor_shape"]["unknown_rank"]
    assert signature[1]["inputs"]["images"]["dtype"] == "DT_UINT8"
    assert responses.STATUS["model_version_status"][0]["state"] == "AVAILABLE"


# Counts


def test_requests_and_batches_are_counted():
    counts = metrics.Metrics()
    counts.answered("/v1", 200, 0.004)
    counts.answered("/v1", 200, 0.2)
    counts.answered("/v1", 400, 0.0001)
    counts.batch(5)
    counts.batch(64)
    lines = counts.text().decode().splitlines()
    for line in (
        'mnist_requests_total{route="/v1",status="200"} 2.0',
        'mnist_requests_total{route="/v1",status="400"} 1.0',
        'mnist_request_seconds_bucket{le="0.005",route="/v1"} 2.0',
        'mnist_request_seconds_bucket{le="0.2",route="/v1"} 3.0',
        'mnist_request_seconds_count{route="/v1"} 3.0',
        "mnist_images_total 69.0",
        'mnist_batch_images_bucket{le="4.0"} 0.0',
        'mnist_batch_images_bucket{le="8.0"} 1.0',
        'mnist_batch_images_bucket{le="64.0"} 2.0',
        "mnist_batch_images_sum 69.0",
        "mnist_requests_in_flight 0.0",
    ):
        assert line in lines
    assert any(line.startswith("python_info") for line in lines)
    assert any(line.startswith("python_gc_") for line in lines)
    assert 'status="200"' not in metrics.Metrics().text().decode()  # a registry of its own


# The schema


def test_the_schema_holds_what_the_server_takes():
    found = openapi.schemas(Limits(instances=7))
    levels = found["Levels"]
    assert (levels["minItems"], levels["maxItems"]) == (28, 28)
    assert (levels["items"]["minItems"], levels["items"]["maxItems"]) == (28, 28)
    assert levels["items"]["items"] == {"type": "integer", "minimum": 0, "maximum": 255}
    assert found["Shares"]["items"]["items"] == {"type": "number", "minimum": 0, "maximum": 1}
    kinds = found["Instances"]["properties"]["instances"]["anyOf"]
    assert [kind["items"]["anyOf"][0]["$ref"].rpartition("/")[2] for kind in kinds] == ["Levels", "Shares"]
    assert all((kind["minItems"], kind["maxItems"]) == (1, 7) for kind in kinds)
    assert found["Instances"]["required"] == ["instances"] and found["Inputs"]["required"] == ["inputs"]
    assert found["Inputs"]["properties"]["inputs"]["anyOf"][-1]["additionalProperties"] is False
    assert [kind["maxItems"] for kind in found["One"]["properties"]["instances"]["anyOf"]] == [1, 1]
    ten = found["Predictions"]["properties"]["predictions"]["items"]
    assert (ten["minItems"], ten["maxItems"], ten["items"]["minimum"]) == (10, 10, 0)
    assert 1 < ten["items"]["maximum"] < 1.001
    assert found["Look"]["required"] == ["image", "probabilities", "layers"]
    assert found["Examples"]["required"] == ["rounds", "note", "examples"]


def test_every_reference_of_the_schema_leads_somewhere():
    found = openapi.schemas(Limits())
    bodies = [
        openapi.request_body("Instances", "Inputs"),
        openapi.request_body("One"),
        openapi.responses_of("Look", {400: "wrong"}),
    ]
    references = set(orjson.dumps([found, *({str(k): v for k, v in body.items()} for body in bodies)]).split(b'"'))
    names = {word.decode().rpartition("/")[2] for word in references if word.startswith(b"#/components/schemas/")}
    assert names <= set(found) and {"Levels", "Picture", "Error", "Look", "One"} <= names


def test_bodies_and_answers_of_a_path():
    one = openapi.request_body("One")["requestBody"]
    assert one["required"] and one["content"]["application/json"]["schema"] == openapi.ref("One")
    two = openapi.request_body("Instances", "Inputs")["requestBody"]["content"]["application/json"]
    assert two["schema"] == {"oneOf": [openapi.ref("Instances"), openapi.ref("Inputs")]}
    example = read(**two["example"])  # the server can read its own example
    assert example.images.shape == (1, 28, 28) and example.images.max() > 200
    found = openapi.responses_of("Outputs", {400: "wrong", 413: "large"})
    assert list(found) == [200, 400, 413] and found[413]["description"] == "large"
    assert found[400]["content"]["application/json"]["schema"] == openapi.ref("Error")
    assert found[200]["content"]["application/json"]["schema"] == openapi.ref("Outputs")
    assert openapi.responses_of({"type": "string"}, {})[200]["content"] == openapi.json_content({"type": "string"})
    assert openapi.object_of({"a": {}, "b": {}})["required"] == ["a", "b"]


# Test images to show


def test_rounds_have_one_image_of_each_class_and_begin_again():
    labels = np.array([*range(10), *range(9, -1, -1), 3, 3], np.uint8)
    pictures = np.zeros((22, 28, 28), np.uint8) + np.arange(22, dtype=np.uint8)[:, None, None]
    shown = Examples(Split(pictures, labels), "a note")
    assert len(shown) == 2
    first, second = ([each["index"] for each in shown.round(which)["examples"]] for which in (0, 1))
    assert first == list(range(10)) and second == list(range(19, 9, -1))
    for which, indices in ((2, first), (3, second), (-1, second), (7, second)):
        found = shown.round(which)
        assert [each["index"] for each in found["examples"]] == indices
        assert [each["label"] for each in found["examples"]] == list(range(10))
        assert all(each["image"].max() == each["index"] for each in found["examples"])
        assert (found["rounds"], found["note"]) == (2, "a note")


def test_without_images_there_is_a_note():
    assert Examples(None, "no data").round(5) == {"rounds": 0, "note": "no data", "examples": []}
    nines = Examples(Split(np.zeros((2, 28, 28), np.uint8), np.array([9, 9], np.uint8)))
    assert nines.round(0) == {"rounds": 0, "note": "", "examples": []}


# How many connections there may be

UNLIMITED = -1


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "expected"),
    [
        (100_000, 100_000, None, CONNECTIONS),  # enough as it is
        (CONNECTIONS + 200, CONNECTIONS + 200, None, CONNECTIONS),
        (1024, 100_000, (CONNECTIONS + 200, 100_000), CONNECTIONS),
        (1024, UNLIMITED, (CONNECTIONS + 200, UNLIMITED), CONNECTIONS),
        (1024, 2000, (2000, 2000), 1800),  # as many as the system allows
        (1024, 1024, (1024, 1024), 824),
        (150, 150, (150, 150), 1),  # one at least
    ],
)
def test_there_is_room_for_as_many_connections_as_files(monkeypatch, soft, hard, raised, expected):
    limit, asked = [soft, hard], []

    def setrlimit(which, limits):
        assert which == resource.RLIMIT_NOFILE
        asked.append(limits)
        limit[:] = limits

    fake = SimpleNamespace(getrlimit=lambda _: tuple(limit), setrlimit=setrlimit, RLIMIT_NOFILE=resource.RLIMIT_NOFILE)
    monkeypatch.setattr(server, "resource", fake)
    assert server.connection_limit() == expected
    assert asked == ([] if raised is None else [raised])


def test_where_the_limit_cannot_be_raised_there_is_less_room(monkeypatch):
    def setrlimit(*_):
        raise ValueError("not permitted")

    fake = SimpleNamespace(getrlimit=lambda _: (1024, 100_000), setrlimit=setrlimit, RLIMIT_NOFILE=7)
    monkeypatch.setattr(server, "resource", fake)
    assert server.connection_limit() == 824


# One connection


class Handle:
    def __init__(self, seconds, call):
        self.seconds, self.call, self.cancelled = seconds, call, False

    def cancel(self):
        self.cancelled = True


class Task:
    def add_done_callback(self, call):
        pass


class Loop:
    """The event loop's place: nothing runs, what is asked for is kept."""

    def __init__(self):
        self.later, self.time = [], lambda: 0.0

    def call_later(self, seconds, call, *rest):
        self.later.append(Handle(seconds, call))
        return self.later[-1]

    def create_task(self, coroutine, **_):
        coroutine.close()
        return Task()


class Transport:
    def __init__(self):
        self.written, self.closed, self.aborted, self.waiting = b"", False, False, 0

    def get_extra_info(self, name, default=None):
        return default

    def get_write_buffer_size(self):
        return self.waiting

    def write(self, data):
        self.written += data

    def close(self):
        self.closed = True

    def abort(self):
        self.closed = self.aborted = True

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        pass

    resume_reading = set_protocol = pause_reading


async def nothing(scope, receive, send):
    pass


@pytest.fixture
def connect():
    """A function that makes connections of one server, each with a client that has just come."""
    state, config = ServerState(), uvicorn.Config(nothing, lifespan="off", log_config=None, ws="none")

    def made(seconds=20.0, most=3):
        kind = connections.connection_class(seconds, most)
        found = kind(config=config, server_state=state, app_state={}, _loop=Loop())
        found.connection_made(Transport())
        return found

    return made


ASKED = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def said(connection) -> tuple[int, str]:
    """The status and the words that a connection ended with."""
    head, _, body = connection.transport.written.partition(b"\r\n\r\n")
    assert b"connection: close" in head and b"content-length: %d" % len(body) in head
    return int(head.split()[1]), orjson.loads(body)["error"]


def test_a_connection_too_many_is_ended(connect):
    first, second, third = (connect(most=2) for _ in range(3))
    assert not first.transport.aborted and not second.transport.aborted and third.transport.aborted
    assert first.timer.seconds == 20 and third.timer is None
    first.connection_lost(None)
    assert first.timer is None and first.loop.later[0].cancelled
    third.connection_lost(None)
    assert not connect(most=2).transport.aborted


def test_a_head_may_be_so_long_and_no_longer(connect):
    connection = connect()
    start = b"GET / HTTP/1.1\r\nx: "
    connection.data_received(start + b"a" * (HEAD - len(start)))
    assert not connection.transport.written
    connection.data_received(b"a")
    assert said(connection) == (431, "expected request headers of at most 65,536 bytes, received more")
    assert connection.transport.closed


def test_what_follows_the_head_is_not_counted(connect):
    connection = connect()
    connection.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
    connection.data_received(b"a" * 100_000)
    assert connection.head == -1 and not connection.transport.written and connection.arriving
    connection.data_received(b"a" * 100_000)
    assert not connection.arriving and not connection.transport.closed


def test_a_request_that_does_not_arrive_is_told_so(connect):
    connection = connect(seconds=2.5)
    connection.data_received(ASKED[:10])
    connection.timer.call()
    assert said(connection) == (408, "expected a complete request within 2.5 seconds") and connection.timer is None


def test_an_answer_that_does_not_come_is_told_so(connect):
    connection = connect(seconds=3)
    connection.data_received(ASKED)
    assert [handle.cancelled for handle in connection.loop.later] == [True, False]  # the clock began anew
    connection.timer.call()
    assert said(connection) == (503, "no response within 3 seconds: the server is overloaded; try again")


def test_an_answer_that_is_not_taken_ends_the_connection(connect):
    connection = connect()
    connection.data_received(ASKED)
    connection.cycle.response_started = True
    connection.timer.call()
    assert connection.transport.aborted and not connection.transport.written


def test_a_body_that_does_not_come_after_its_answer_ends_the_connection(connect):
    connection = connect()
    connection.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    connection.cycle.response_started = True
    connection.timer.call()
    assert connection.transport.aborted and not connection.transport.written


def test_who_has_gone_is_told_nothing(connect):
    connection = connect()
    connection.transport.close()
    connection.refuse(408, "late")
    assert not connection.transport.written


def test_after_the_answer_the_clock_stands_until_the_next_request(connect):
    connection = connect()
    connection.data_received(ASKED)
    connection.cycle.response_started = connection.cycle.response_complete = True
    connection.on_response_complete()
    assert connection.timer is None and not connection.transport.closed
    connection.data_received(ASKED[:5])
    assert connection.timer is not None and connection.arriving and connection.head == 5


def test_an_answer_before_the_whole_request_leaves_the_clock(connect):
    connection = connect()
    connection.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
    connection.cycle.response_started = connection.cycle.response_complete = True
    connection.on_response_complete()
    assert connection.timer is not None


@pytest.mark.parametrize(("waiting", "aborted"), [(0, False), (1, True)])
def test_an_idle_connection_with_an_answer_that_is_not_taken_is_cut(connect, waiting, aborted):
    connection = connect()
    connection.transport.waiting = waiting
    connection.timeout_keep_alive_handler()
    assert connection.transport.closed and connection.transport.aborted == aborted


def test_a_stopping_server_waits_a_moment_for_what_is_on_its_way(connect):
    idle = connect()
    idle.shutdown()
    assert idle.stopping and not idle.transport.closed
    assert idle.loop.later[-1].seconds == connections.LAST
    idle.loop.later[-1].call()
    assert idle.transport.closed

    busy = connect()
    busy.shutdown()
    busy.data_received(ASKED)
    assert not busy.cycle.keep_alive  # it is the last one
    busy.close_if_idle()
    assert not busy.transport.closed
    busy.cycle.response_complete = True
    busy.close_if_idle()
    assert busy.transport.closed

    answering = connect()
    answering.data_received(ASKED)
    assert answering.cycle.keep_alive
    answering.shutdown()
    assert not answering.cycle.keep_alive and not answering.transport.closed
