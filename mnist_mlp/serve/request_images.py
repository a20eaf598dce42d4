"""Parse the images in the body of a request in TensorFlow Serving's format."""

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

from mnist_mlp.data.pictures import decode, reading
from mnist_mlp.errors import UserError
from mnist_mlp.serve.limits import PIXELS, Limits, Refused

NAME = "images"  # the network's one input
SIGNATURE = "serving_default"
SHAPES = "28×28, 28×28×1 or 784 numbers"


@dataclasses.dataclass(frozen=True)
class PredictRequest:
    """The images in a request, uint8 [n, 28, 28], n ≥ 1."""

    images: np.ndarray
    columnar: bool  # `inputs` → `outputs` instead of `instances` → `predictions`


def read(body: bytes, limits: Limits) -> PredictRequest:
    """Parse a JSON body. Raise `Refused`.

    All arrays of a request are treated as one, as in predict's files: integers are grey levels 0–255, floats are ink
    0–1. (Whole numbers above 1 are levels even if written with a decimal point: to JSON, 34.0 is 34.) The digits of
    pictures, {"b64": …}, are scaled and centred as in MNIST.
    """
    document = parse(body)
    if type(document) is not dict:
        raise Refused(400, f"expected a JSON object with instances or inputs, received {described(document)}")
    signature = document.get("signature_name", "")
    if signature not in ("", SIGNATURE):
        raise Refused(400, f"signature_name: expected {SIGNATURE}, received {truncated(signature)}")
    keys = [key for key in ("instances", "inputs") if key in document]
    if len(keys) != 1:
        raise Refused(400, f"expected either instances or inputs, received {'both' if keys else 'neither'}")
    key = keys[0]
    entries = document[key]
    if key == "inputs" and type(entries) is dict and "b64" not in entries:
        entries = single_input(entries, key)
    if type(entries) is not list or not entries:
        raise Refused(400, f"{key}: expected a list of at least one image, received {described(entries)}")
    if len(entries) > limits.instances:
        raise Refused(400, f"{key}: expected at most {limits.instances:,} images, received {len(entries):,}")
    return PredictRequest(images_of(entries, key, time.monotonic() + limits.seconds), key == "inputs")


def parse(body: bytes) -> Any:
    """Parse JSON. Raise `Refused` with a hint for NaN and Infinity."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        number = any(word in body for word in (b"NaN", b"Infinity"))
        hint = "; JSON has no NaN or Infinity: expected 0–255, or 0–1 with a decimal point" if number else ""
        raise Refused(400, f"expected JSON in UTF-8, received invalid JSON: {error}{hint}") from None


def images_of(entries: list[Any], key: str, until: float) -> np.ndarray:
    """Convert a list of arrays and pictures to images; pictures must be read before `until` (time.monotonic)."""
    images = np.empty((len(entries), 28, 28), np.uint8)
    arrays: list[tuple[int, list[Any], bool]] = []
    pixels = 0
    for index, entry in enumerate(entries):
        if type(entry) is dict and "b64" not in entry:
            entry = single_input(entry, f"{key}[{index}]")
        if type(entry) is dict:
            where = f"{key}[{index}].b64"
            if time.monotonic() > until:
                raise Refused(413, f"{where}: reading the pictures takes too long; send fewer or smaller ones")
            content = decoded(entry["b64"], where)
            pixels += size_of(content)
            if pixels > PIXELS:
                raise Refused(413, f"{where}: expected at most {PIXELS:,} pixels in all; send smaller pictures")
            images[index] = picture(content, where)
        else:
            arrays.append((index, numbers(entry, f"{key}[{index}]"), len(entry) == 784))
    if arrays:
        images[[index for index, _, _ in arrays]] = levels(arrays, key)
    return images


def single_input(inputs: dict[str, Any], where: str) -> Any:
    """Return the value of an object whose only key is the input's name."""
    if list(inputs) != [NAME]:
        keys = ", ".join(map(truncated, itertools.islice(inputs, 5)))
        raise Refused(400, f"{where}: expected the input {NAME!r}, or {{'b64': …}}, received {keys or 'no input'}")
    return inputs[NAME]


def numbers(image: Any, where: str) -> list[Any]:
    """Return the 784 entries of an array in one of the shapes, row by row, without checking their types."""
    if type(image) is not list:
        raise Refused(400, f"{where}: expected an image of {SHAPES}, or {{'b64': …}}, received {described(image)}")
    if len(image) == 784:
        return image
    if len(image) != 28:
        raise Refused(400, f"{where}: expected an image of {SHAPES}, received {described(image)}")
    flat: list[Any] = []
    for index, row in enumerate(image):
        if type(row) is not list or len(row) != 28:
            raise Refused(400, f"{where}[{index}]: expected a row of 28 numbers, received {described(row)}")
        flat += row
    if type(flat[0]) is list:  # [28, 28, 1]
        for index, pixel in enumerate(flat):
            if type(pixel) is not list or len(pixel) != 1:
                pixel_at = f"{where}[{index // 28}][{index % 28}]"
                raise Refused(400, f"{pixel_at}: expected a list of one number, received {described(pixel)}")
        flat = [pixel[0] for pixel in flat]
    return flat


def levels(arrays: list[tuple[int, list[Any], bool]], key: str) -> np.ndarray:
    """Convert arrays to uint8 [n, 28, 28] by the rule in `read`. Each comes with its index in the request, and with
    whether it was flat."""
    types = set(itertools.chain.from_iterable(map(type, flat) for _, flat, _ in arrays))
    if types == {int}:
        with contextlib.suppress(ValueError, OverflowError):  # for an integer outside 0–255
            content = b"".join([bytes(flat) for _, flat, _ in arrays])  # four times as fast as np.array
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
    index, flat, was_flat = arrays[which]
    where = f"{key}[{index}][{at}]" if was_flat else f"{key}[{index}][{at // 28}][{at % 28}]"
    rule = "0–1, since one of the numbers is not an integer" if shares else "a whole number from 0 to 255"
    received = flat[at] if type(flat[at]) in (int, float) else described(flat[at])
    raise Refused(400, f"{where}: expected {rule}, received {received}")


def decoded(text: Any, where: str) -> bytes:
    """Decode the base64 of a picture."""
    if type(text) is not str:
        raise Refused(400, f"{where}: expected the base64 of a picture, received {described(text)}")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(400, f"{where}: expected the base64 of a picture: {error}") from None


def size_of(content: bytes) -> int:
    """Return the number of pixels in a picture's header; 0 if it cannot be read."""
    try:
        with Image.open(io.BytesIO(content), formats=decode.FORMATS) as image:
            return image.size[0] * image.size[1]
    except Image.DecompressionBombError:
        return PIXELS + 1
    except Exception:  # Pillow's exceptions have no common class; `picture` reports what is wrong
        return 0


def picture(content: bytes, where: str) -> np.ndarray:
    """Return the digit of a picture, uint8 [28, 28], scaled and centred as by `predict --input`."""
    try:
        return reading.digit_in(decode.read(io.BytesIO(content), where)).image
    except UserError as error:
        message = str(error)
        raise Refused(400, message if message.startswith(where) else f"{where}: {message}") from None


def described(value: Any) -> str:
    """Describe a JSON value in words."""
    if type(value) is list:
        return f"a list of {len(value):,}" if value else "an empty list"
    if type(value) is str:
        return f"the text {truncated(value)}"
    words = {dict: "an object", bool: "true or false", type(None): "null", int: "a number", float: "a number"}
    return words[type(value)]


def truncated(value: Any) -> str:
    """Return a value as quoted in a message, at most 60 characters."""
    text = repr(value) if type(value) is str and len(value) < 200 else str(type(value).__name__)
    return text if len(text) <= 60 else f"{text[:57]}..."
