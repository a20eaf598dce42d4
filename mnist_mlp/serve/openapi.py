"""What /openapi.json says beyond the paths: bodies, answers and errors."""

from __future__ import annotations

from typing import Any

from mnist_mlp.serve.limits import Limits
from mnist_mlp.serve.request_images import NAME, SIGNATURE

PICTURE = (  # a 7, drawn with a broad pen: an example for those who try it
    "iVBORw0KGgoAAAANSUhEUgAAABwAAAAcAQAAAABaduI5AAAAQElEQVR42mP8z8DwkYmBgYEBO8EowMDEwPADwmVh+D8BwmL4/1/+"
    "A1TJfwWY4n8OMNkf/2GyP+FGfYKyGHFZCQDx0RHoDW8r6QAAAABJRU5ErkJggg=="
)


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def grid(item: dict[str, Any]) -> dict[str, Any]:
    """28 rows of 28 such items."""
    row = {"type": "array", "items": item, "minItems": 28, "maxItems": 28}
    return {"type": "array", "items": row, "minItems": 28, "maxItems": 28}


def schemas(limits: Limits) -> dict[str, Any]:
    """The components of the OpenAPI document."""
    many = {"minItems": 1, "maxItems": limits.instances}
    kinds = [
        {"type": "array", "items": {"anyOf": [ref(kind), ref("Picture")]}, **many} for kind in ("Levels", "Shares")
    ]
    images = {"anyOf": kinds}
    one = {"anyOf": [{**kind, "maxItems": 1} for kind in kinds]}
    by_name = {**named({NAME: images}), "additionalProperties": False}
    signature = {"type": "string", "enum": [SIGNATURE, ""]}
    probability = {"type": "number", "minimum": 0, "maximum": 1.0001}
    ten = {"type": "array", "items": probability, "minItems": 10, "maxItems": 10}
    level = {"type": "integer", "minimum": 0, "maximum": 255}
    found = {"type": "array", "items": ten}
    numbers = {"type": "array", "items": {"type": "number"}}
    layer = {"name": {"type": "string"}, "activations": numbers}
    example = {"index": {"type": "integer"}, "label": {"type": "integer"}, "image": grid(level)}
    return {
        "Levels": {
            "description": "28×28 grey levels, whole numbers from 0 (background) to 255 (ink). 28×28×1 and 784 are "
            "taken, too.",
            **grid(level),
        },
        "Shares": {
            "description": "28×28 shares of full ink, 0–1, one of them at least written with a point.",
            **grid({"type": "number", "minimum": 0, "maximum": 1}),
        },
        "Picture": {
            "description": "A PNG, JPEG, WebP, BMP, GIF or TIFF file in base64; its digit is put into MNIST's frame.",
            **named({"b64": {"type": "string", "format": "picture", "example": PICTURE}}),
        },
        "Instances": {
            "description": "Row by row.",
            **named({"instances": images, "signature_name": signature}, "instances"),
        },
        "Inputs": {
            "description": "As the one input of the network, by its name or without.",
            **named({"inputs": {"anyOf": [*kinds, by_name]}, "signature_name": signature}, "inputs"),
        },
        "One": named({"instances": one}),
        "Predictions": named({"predictions": found}),
        "Outputs": named({"outputs": found}),
        "Look": named({
            "image": grid(level),
            "probabilities": ten,
            "layers": {"type": "array", "items": named(layer)},
        }),
        "Examples": named({
            "rounds": {"type": "integer"},
            "note": {"type": "string"},
            "examples": {"type": "array", "items": named(example)},
        }),
        "Error": named({"error": {"type": "string"}}),
        "Object": {"type": "object"},
    }  # fmt: skip


def named(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """An object with these properties, all required unless some are named."""
    return {"type": "object", "properties": properties, "required": list(required or properties)}


def answers(name: str | dict[str, Any], errors: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """The responses of a path: what it gives with 200, and its errors."""
    schema = ref(name) if isinstance(name, str) else name
    found: dict[int | str, dict[str, Any]] = {200: {"description": "Done.", "content": of_json(schema)}}
    for status, words in errors.items():
        found[status] = {"description": words, "content": of_json(ref("Error"))}
    return found


def of_json(schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    return {"application/json": {"schema": schema} | ({"example": example} if example is not None else {})}


def body(*names: str) -> dict[str, Any]:
    """What a path wants to be sent."""
    schema = ref(names[0]) if len(names) == 1 else {"oneOf": [ref(name) for name in names]}
    example = {"instances": [{"b64": PICTURE}]}
    return {"requestBody": {"required": True, "content": of_json(schema, example)}}
