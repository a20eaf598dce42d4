"""Loaded by schemathesis (SCHEMATHESIS_HOOKS): what the server's OpenAPI calls the format "picture"."""

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
