"""Loaded by schemathesis (SCHEMATHESIS_HOOKS): what the server's OpenAPI calls the format "picture", and the scale.

A JSON schema cannot say that the images of a request have one scale and show it: each gets a pixel of full ink.
"""

import base64
import io

import schemathesis
from hypothesis import strategies
from PIL import Image


def png(shade):
    """A picture with ink, in base64."""
    levels = Image.new("L", (20, 20), 255)
    levels.paste(shade, (8, 3, 11, 17))
    file = io.BytesIO()
    levels.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


schemathesis.openapi.format("picture", strategies.integers(0, 200).map(png))


def is_image(entry):
    """Whether an entry of a request is 28 rows of 28 numbers, 0–255."""
    rows = (
        isinstance(entry, list) and len(entry) == 28 and all(isinstance(row, list) and len(row) == 28 for row in entry)
    )
    return rows and all(type(pixel) in (int, float) and 0 <= pixel <= 255 for row in entry for pixel in row)


@schemathesis.hook
def before_call(context, case, **kwargs):
    body = case.body if isinstance(case.body, dict) else {}
    for entries in (body.get("instances"), body.get("inputs")):
        entries = entries.get("images") if isinstance(entries, dict) else entries
        images = [entry for entry in entries if is_image(entry)] if isinstance(entries, list) else []
        top = max((pixel for image in images for row in image for pixel in row), default=0)
        for image in images:
            image[0] = [255 if top > 1 else 1, *image[0][1:]]
