"""Reads the body of a request, as TensorFlow Serving takes it, into images."""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
import io
import itertools
import time
from typing import Any

import numpy as np
import orjson
from PIL import Image

from mnist_mlp.data.pictures import decode, normalize
from mnist_mlp.errors import UserError
from mnist_mlp.serve.limits import PIXELS, Limits, Refused

NAME = "images"  # of the network's one input
SIGNATURE = "serving_default"
SHAPES = "28×28, 28×28×1 or 784 numbers"


@dataclasses.dataclass(frozen=True)
class Question:
    """The images that a request asks about, uint8 [n, 28, 28], n ≥ 1."""

    images: np.ndarray
    columns: bool  # asked with `inputs`, to be answered with `outputs`


def read(body: bytes, limits: Limits) -> Question:
    """The images in a body of JSON. Raises `Refused`.

    Its arrays together are one array, as in predict's files: integers are grey levels 0–255, and floats shares of full
    ink, 0–1. (Whole numbers beyond 1 are levels also where they are written with a point: to JSON 34.0 is 34.)
    Pictures, {"b64": …}, are brought into MNIST's frame.
    """
    document = parse(body)
    if type(document) is not dict:
        raise Refused(400, f"expected a JSON object with instances or inputs, received {kind_of(document)}")
    signature = document.get("signature_name", "")
    if signature not in ("", SIGNATURE):
        raise Refused(400, f"signature_name: expected {SIGNATURE}, received {truncated(signature)}")
    given = [key for key in ("instances", "inputs") if key in document]
    if len(given) != 1:
        raise Refused(400, f"expected one of instances and inputs, received {'both' if given else 'neither'}")
    key = given[0]
    entries = document[key]
    if key == "inputs" and type(entries) is dict and "b64" not in entries:
        entries = only(entries, key)
    if type(entries) is not list or not entries:
        raise Refused(400, f"{key}: expected a list of images, one at least, received {kind_of(entries)}")
    if len(entries) > limits.instances:
        raise Refused(400, f"{key}: expected at most {limits.instances:,} images, received {len(entries):,}")
    return Question(images_of(entries, key, time.monotonic() + limits.seconds), key == "inputs")


def parse(body: bytes) -> Any:
    """The JSON value."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        number = any(word in body for word in (b"NaN", b"Infinity"))
        hint = "; NaN and Infinity are no numbers of JSON: expected 0–255, or 0–1 with a point" if number else ""
        raise Refused(400, f"expected JSON in UTF-8, received what cannot be read: {error}{hint}") from None


def images_of(entries: list[Any], key: str, until: float) -> np.ndarray:
    """The images of a list of arrays and pictures; `until` (time.monotonic) these must be read."""
    images = np.empty((len(entries), 28, 28), np.uint8)
    arrays: list[tuple[int, list[Any], bool]] = []
    pixels = 0
    for index, entry in enumerate(entries):
        if type(entry) is dict and "b64" not in entry:
            entry = only(entry, f"{key}[{index}]")
        if type(entry) is dict:
            place = f"{key}[{index}].b64"
            if time.monotonic() > until:
                raise Refused(
                    413, f"{place}: expected pictures that are read sooner; send fewer of them, or smaller ones"
                )
            content = decoded(entry["b64"], place)
            pixels += size_of(content)
            if pixels > PIXELS:
                raise Refused(413, f"{place}: expected at most {PIXELS:,} pixels in all; make the pictures smaller")
            images[index] = picture(content, place)
        else:
            arrays.append((index, numbers(entry, f"{key}[{index}]"), len(entry) == 784))
    if arrays:
        images[[index for index, _, _ in arrays]] = levels(arrays, key)
    return images


def only(named: dict[str, Any], place: str) -> Any:
    """What stands in an object under the input's name, which is its one key."""
    if list(named) != [NAME]:
        keys = ", ".join(map(truncated, itertools.islice(named, 5)))
        raise Refused(400, f"{place}: expected the one input {NAME!r}, or {{'b64': …}}, received {keys or 'no input'}")
    return named[NAME]


def numbers(image: Any, place: str) -> list[Any]:
    """The 784 entries of an array of one of the shapes, row by row; what they are is not looked at yet."""
    if type(image) is not list:
        raise Refused(400, f"{place}: expected an image of {SHAPES}, or {{'b64': …}}, received {kind_of(image)}")
    if len(image) == 784:
        return image
    if len(image) != 28:
        raise Refused(400, f"{place}: expected an image of {SHAPES}, received {kind_of(image)}")
    flat: list[Any] = []
    for index, row in enumerate(image):
        if type(row) is not list or len(row) != 28:
            raise Refused(400, f"{place}[{index}]: expected a row of 28 numbers, received {kind_of(row)}")
        flat += row
    if type(flat[0]) is list:  # [28, 28, 1]
        for index, pixel in enumerate(flat):
            if type(pixel) is not list or len(pixel) != 1:
                where = f"{place}[{index // 28}][{index % 28}]"
                raise Refused(400, f"{where}: expected a list of one number, received {kind_of(pixel)}")
        flat = [pixel[0] for pixel in flat]
    return flat


def levels(arrays: list[tuple[int, list[Any], bool]], key: str) -> np.ndarray:
    """The arrays, each with its index in the request and whether it came without rows, as uint8 [n, 28, 28], by the
    rule in `read`."""
    types = set(itertools.chain.from_iterable(map(type, flat) for _, flat, _ in arrays))
    if types == {int}:
        with contextlib.suppress(ValueError, OverflowError):  # of an integer that no byte can hold
            content = b"".join([bytes(flat) for _, flat, _ in arrays])  # a fourth of the time of np.array
            return np.frombuffer(content, np.uint8).reshape(-1, 28, 28)
    shares = False
    if types <= {int, float}:
        values = np.array([flat for _, flat, _ in arrays], np.float64)
        shares = float in types and bool(values.max() <= 1 or (values % 1).any())
        wrong = ~((values >= 0) & (values <= (1 if shares else 255)))
        if not wrong.any():
            return np.rint(values * (255 if shares else 1)).astype(np.uint8).reshape(-1, 28, 28)
        which, at = np.argwhere(wrong)[0]
    else:
        which, at = next(
            (which, at)
            for which, (_, flat, _) in enumerate(arrays)
            for at, value in enumerate(flat)
            if type(value) not in (int, float)
        )
    index, flat, no_rows = arrays[which]
    place = f"{key}[{index}][{at}]" if no_rows else f"{key}[{index}][{at // 28}][{at % 28}]"
    rule = "0–1, since one of the numbers is no whole one" if shares else "a whole number from 0 to 255"
    value = flat[at]
    raise Refused(400, f"{place}: expected {rule}, received {value if type(value) in (int, float) else kind_of(value)}")


def decoded(text: Any, place: str) -> bytes:
    """The bytes of a picture."""
    if type(text) is not str:
        raise Refused(400, f"{place}: expected the base64 of a picture, received {kind_of(text)}")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(400, f"{place}: expected the base64 of a picture: {error}") from None


def size_of(content: bytes) -> int:
    """How many pixels a picture says that it has; 0 where it cannot be read."""
    try:
        with Image.open(io.BytesIO(content), formats=decode.FORMATS) as image:
            return image.size[0] * image.size[1]
    except Image.DecompressionBombError:
        return PIXELS + 1
    except Exception:  # what Pillow raises has no common class; `reading` says what is wrong
        return 0


def picture(content: bytes, place: str) -> np.ndarray:
    """The digit of a picture in MNIST's frame, uint8 [28, 28], as `predict --input` brings it there."""
    try:
        return normalize.framed(decode.read(io.BytesIO(content), place))
    except UserError as error:
        message = str(error)
        raise Refused(400, message if message.startswith(place) else f"{place}: {message}") from None


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    if type(value) is list:
        return f"a list of {len(value):,}" if value else "an empty list"
    if type(value) is str:
        return f"the text {truncated(value)}"
    words = {dict: "an object", bool: "true or false", type(None): "null", int: "a number", float: "a number"}
    return words[type(value)]


def truncated(value: Any) -> str:
    """A value as it stands in a message, no longer than a few words."""
    text = repr(value) if type(value) is str and len(value) < 200 else str(type(value).__name__)
    return text if len(text) <= 60 else f"{text[:57]}..."
