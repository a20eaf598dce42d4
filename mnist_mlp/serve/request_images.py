"""Parse the images in the body of a request in TensorFlow Serving's format."""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
import io
import itertools
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
from PIL import Image

from mnist_mlp.data.pictures import decode, reading
from mnist_mlp.data.pixel_values import LEVELS, UnknownScale, to_grey_levels
from mnist_mlp.errors import UserError
from mnist_mlp.serve.limits import PIXELS, Limits, Refused

NAME = "images"  # the network's one input
SIGNATURE = "serving_default"
SHAPES = "28×28, 28×28×1 or 784 numbers"
SHORTEST = 32  # characters of a picture in base64
URL_SAFE = str.maketrans("-_", "+/")  # the two letters of URL-safe base64


Reader = Callable[[np.ndarray], reading.Reading]  # of a picture's grey levels; raises `UserError`


@dataclasses.dataclass(frozen=True)
class PredictRequest:
    """The images in a request, uint8 [n, 28, 28], n ≥ 1."""

    images: np.ndarray
    columnar: bool  # `inputs` → `outputs` instead of `instances` → `predictions`


def read(body: bytes, limits: Limits, read_picture: Reader = reading.digit_in) -> PredictRequest:
    """Parse a JSON body. Raise `Refused`.

    All arrays of a request are treated as one array in a file of `predict`: grey levels 0–255 or ink 0–1, told apart
    by the rule of `data.pixel_values`. The digits of pictures, {"b64": …} or a data URL, are scaled and centred as in
    MNIST.
    """
    document = parse(body)
    if type(document) is not dict:
        raise Refused(400, f"expected a JSON object with instances or inputs, received {described(document)}")
    signature = document.get("signature_name", "")
    if signature not in ("", SIGNATURE):
        received = truncated(signature) if type(signature) is str else f"{described(signature)}; omit it"
        raise Refused(400, f"signature_name: expected {SIGNATURE}, received {received}")
    keys = [key for key in ("instances", "inputs") if key in document]
    if len(keys) != 1:
        raise Refused(400, f"expected either instances or inputs, received {'both' if keys else 'neither'}")
    key = keys[0]
    entries = document[key]
    if key == "inputs" and type(entries) is dict and "b64" not in entries:
        entries = single_input(entries, key)
    if type(entries) is not list or not entries:
        raise Refused(400, f"{key}: expected a list of at least one image, received {described(entries)}")
    if is_one_image(entries):
        raise Refused(400, f"{key}: expected a list of images, received one image; write it as a list of one: [image]")
    if len(entries) > limits.instances:
        raise Refused(400, f"{key}: expected at most {limits.instances:,} images, received {len(entries):,}")
    return PredictRequest(images_of(entries, key, time.monotonic() + limits.seconds, read_picture), key == "inputs")


def parse(body: bytes) -> Any:
    """Parse JSON. Raise `Refused` with a hint for NaN and Infinity."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        number = any(word in body for word in (b"NaN", b"Infinity"))
        hint = "; JSON has no NaN or Infinity: expected 0–255 or 0–1" if number else ""
        raise Refused(400, f"expected JSON in UTF-8, received invalid JSON: {error}{hint}") from None


def images_of(entries: list[Any], key: str, until: float, read_picture: Reader = reading.digit_in) -> np.ndarray:
    """Convert a list of arrays and pictures to images; pictures must be read before `until` (time.monotonic)."""
    images = np.empty((len(entries), 28, 28), np.uint8)
    arrays: list[tuple[int, list[Any], bool]] = []
    pixels = 0
    for index, entry in enumerate(entries):
        if type(entry) is dict and "b64" not in entry:
            entry = single_input(entry, f"{key}[{index}]")
        if type(entry) is dict or is_picture(entry):
            where = f"{key}[{index}].b64" if type(entry) is dict else f"{key}[{index}]"
            if time.monotonic() > until:
                raise Refused(413, f"{where}: reading the pictures takes too long; send fewer or smaller ones")
            content = decoded(entry["b64"] if type(entry) is dict else entry, where)
            pixels += size_of(content)
            if pixels > PIXELS:
                raise Refused(413, f"{where}: expected at most {PIXELS:,} pixels in all; send smaller pictures")
            images[index] = picture(content, where, read_picture)
        else:
            arrays.append((index, numbers(entry, f"{key}[{index}]"), len(entry) == 784))
    if arrays:
        images[[index for index, _, _ in arrays]] = levels(arrays, key)
    return images


def is_one_image(entries: list[Any]) -> bool:
    """Return whether what should be a list of images is one image: 28 rows of 28 numbers, or 784 numbers."""
    if len(entries) == 784:
        return type(entries[0]) in (int, float)
    rows = len(entries) == 28 and all(type(row) is list and len(row) == 28 for row in entries)
    return rows and type(entries[0][0]) in (int, float)


def is_picture(entry: Any) -> bool:
    """Return whether an entry is the base64 of a picture in place of {"b64": …}, perhaps as a data URL."""
    return type(entry) is str and (len(entry) >= SHORTEST or entry[:5].lower() == "data:")


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
    try:
        return to_grey_levels(as_numbers(arrays, types)).reshape(-1, 28, 28)
    except UnknownScale as error:
        index, flat, was_flat = arrays[error.image]
        where = f"{key}[{index}]" if error.pixel is None else place_of(key, index, error.pixel, was_flat)
        received = error.received if error.pixel is None else flat[error.pixel]
        raise Refused(400, f"{where}: expected {error.expected}, received {received}; {error.remedy}") from None
    except TypeError:
        which, at = next(
            (which, at)
            for which, (_, flat, _) in enumerate(arrays)
            for at, value in enumerate(flat)
            if type(value) not in (int, float)
        )
    index, flat, was_flat = arrays[which]
    where = place_of(key, index, at, was_flat)
    raise Refused(400, f"{where}: expected {LEVELS}, received {described(flat[at])}")


def as_numbers(arrays: list[tuple[int, list[Any], bool]], types: set[type]) -> np.ndarray:
    """Return the numbers of arrays, [n, 784]. Raise TypeError if there is anything else, such as a text."""
    if types <= {int} or types <= {bool}:
        with contextlib.suppress(ValueError, OverflowError):  # for an integer outside 0–255
            content = b"".join([bytes(flat) for _, flat, _ in arrays])  # four times as fast as np.array
            return np.frombuffer(content, np.uint8).reshape(-1, 784)
    if not types <= {int, float}:
        raise TypeError
    return np.array([flat for _, flat, _ in arrays], np.float64)


def place_of(key: str, index: int, pixel: int, was_flat: bool) -> str:
    """Return where in a request a pixel of an array is."""
    return f"{key}[{index}][{pixel}]" if was_flat else f"{key}[{index}][{pixel // 28}][{pixel % 28}]"


def decoded(text: Any, where: str) -> bytes:
    """Decode the base64 of a picture, also as a data URL, with line breaks, URL-safe, or without its padding."""
    if type(text) is not str:
        raise Refused(400, f"{where}: expected the base64 of a picture, received {described(text)}")
    prefix, comma, rest = text.partition(",")
    if comma and prefix[:5].lower() == "data:":
        if not prefix.lower().endswith(";base64"):
            raise Refused(400, f"{where}: expected a data URL in base64, received {prefix[:40]!r}; use toDataURL()")
        text = rest
    text = "".join(text.split()).translate(URL_SAFE).rstrip("=")
    if strange := re.search("[^A-Za-z0-9+/]", text):
        received = "a URL; send the content of the file" if "://" in text[:20] else f"the character {strange[0]!r}"
        raise Refused(400, f"{where}: expected the base64 of a picture, received {received}")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(
            400, f"{where}: expected the base64 of a picture, received a part of it; send all of it"
        ) from None


def size_of(content: bytes) -> int:
    """Return the number of pixels in a picture's header; 0 if it cannot be read."""
    try:
        with Image.open(io.BytesIO(content), formats=decode.FORMATS) as image:
            return image.size[0] * image.size[1]
    except Image.DecompressionBombError:
        return PIXELS + 1
    except Exception:  # Pillow's exceptions have no common class; `picture` reports what is wrong
        return 0


def picture(content: bytes, where: str, read_picture: Reader = reading.digit_in) -> np.ndarray:
    """Return the digit of a picture, uint8 [28, 28], scaled and centred as by `predict --input`."""
    try:
        return read_picture(decode.read(io.BytesIO(content), where)).image
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
