"""The schemas of /openapi.json: request bodies, responses and errors."""

from __future__ import annotations

from typing import Any

from mnist_mlp.serve.limits import EXPLAINED, Limits
from mnist_mlp.serve.request_images import NAME, SIGNATURE

PICTURE = (  # a 7, as an example to try
    "iVBORw0KGgoAAAANSUhEUgAAABwAAAAcAQAAAABaduI5AAAAQElEQVR42mP8z8DwkYmBgYEBO8EowMDEwPADwmVh+D8BwmL4/1/+"
    "A1TJfwWY4n8OMNkf/2GyP+FGfYKyGHFZCQDx0RHoDW8r6QAAAABJRU5ErkJggg=="
)


def ref(name: str) -> dict[str, Any]:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def grid(item: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of 28 rows of 28 items."""
    row = {"type": "array", "items": item, "minItems": 28, "maxItems": 28}
    return {"type": "array", "items": row, "minItems": 28, "maxItems": 28}


def schemas(limits: Limits) -> dict[str, Any]:
    """Return the components of the OpenAPI document."""
    many = {"minItems": 1, "maxItems": limits.instances}
    kinds = [
        {"type": "array", "items": {"anyOf": [ref(kind), ref("Picture")]}, **many} for kind in ("Levels", "Shares")
    ]
    images = {"anyOf": kinds}
    one, few = ({"anyOf": [{**kind, "maxItems": most} for kind in kinds]} for most in (1, EXPLAINED))
    by_name = {**object_of({NAME: images}), "additionalProperties": False}
    signature = {"type": "string", "enum": [SIGNATURE, ""]}
    probability = {"type": "number", "minimum": 0, "maximum": 1.0001}
    ten = {"type": "array", "items": probability, "minItems": 10, "maxItems": 10}
    level = {"type": "integer", "minimum": 0, "maximum": 255}
    found = {"type": "array", "items": ten}
    numbers = {"type": "array", "items": {"type": "number"}}
    layer = {"name": {"type": "string"}, "activations": numbers}
    example = {"index": {"type": "integer"}, "label": {"type": "integer"}, "image": grid(level)}
    number, whole = {"type": "number"}, {"type": "integer"}
    digit = {"type": "integer", "minimum": 0, "maximum": 9}
    neighbours = {
        "layer": {"type": "string"},
        "compared": whole,
        "trained_on": whole,
        "median_distance": {"type": ["number", "null"]},
        "images": {"type": "array", "items": object_of({**example, "distance": number})},
        "pending": {"type": "boolean"},
        "note": {"type": "string"},
    }
    explanation = {
        "predicted": digit,
        "against": digit,
        "margin": number,
        "probabilities": ten,
        "temperature": {"type": ["number", "null"]},
        "gradient_times_input": grid(number),
        "occlusion": grid(number),
        "neighbours": object_of(neighbours),
    }
    return {
        "Levels": {
            "description": "28×28 grey levels, whole numbers from 0 (background) to 255 (ink); an image that is not "
            "blank has a number above 16. 28×28×1 and 784 numbers work, too.",
            **grid(level),
        },
        "Shares": {
            "description": "28×28 numbers from 0 (background) to 1 (ink); an image that is not blank has a number "
            "above 1/255. All images of a request have the same scale.",
            **grid({"type": "number", "minimum": 0, "maximum": 1}),
        },
        "Picture": {
            "description": "A PNG, JPEG, WebP, BMP, GIF or TIFF file in base64; its digit is scaled and centred as in "
            "MNIST. The text alone works, too, and so does a data URL.",
            **object_of({"b64": {"type": "string", "format": "picture", "example": PICTURE}}),
        },
        "Instances": {
            "description": "Row format: one entry per image.",
            **object_of({"instances": images, "signature_name": signature}, "instances"),
        },
        "Inputs": {
            "description": "Columnar format: the network's one input, with or without its name.",
            **object_of({"inputs": {"anyOf": [*kinds, by_name]}, "signature_name": signature}, "inputs"),
        },
        "One": object_of({"instances": one}),
        "Few": object_of({"instances": few}),
        "Predictions": object_of({"predictions": found}),
        "Outputs": object_of({"outputs": found}),
        "Look": object_of({
            "image": grid(level),
            "probabilities": ten,
            "layers": {"type": "array", "items": object_of(layer)},
        }),
        "Explanations": {
            "description": "`against`: the class in the query, or the second most likely one if there is none, or if "
            "it is the predicted class. `margin`: the logit of `predicted` minus that of `against`. The maps are "
            "positive where ink raises it, negative where ink lowers it. `neighbours`: the training images that are "
            "nearest in the network's last hidden layer (`layer`), with their Euclidean distance there; half of all "
            "`compared` are farther away than `median_distance`. `pending`: ask again, the network is still reading "
            "them.",
            **object_of({"explanations": {"type": "array", "items": object_of(explanation)}}),
        },
        "Examples": object_of({
            "rounds": {"type": "integer"},
            "note": {"type": "string"},
            "examples": {"type": "array", "items": object_of(example)},
        }),
        "Error": object_of({"error": {"type": "string"}}),
        "Object": {"type": "object"},
    }  # fmt: skip


def object_of(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """Return the schema of an object, with all properties required unless some are named."""
    return {"type": "object", "properties": properties, "required": list(required or properties)}


def responses_of(name: str | dict[str, Any], errors: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a path: the one of status 200 and its errors."""
    schema = ref(name) if isinstance(name, str) else name
    responses: dict[int | str, dict[str, Any]] = {200: {"description": "Success.", "content": json_content(schema)}}
    for status, description in errors.items():
        responses[status] = {"description": description, "content": json_content(ref("Error"))}
    return responses


def json_content(schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    """Return the content object of a JSON body."""
    return {"application/json": {"schema": schema} | ({"example": example} if example is not None else {})}


def number_in_query(name: str, highest: int, default: int | None = None) -> dict[str, Any]:
    """Return an optional parameter of a path, from 0 to `highest`."""
    schema = {"type": "integer", "minimum": 0, "maximum": highest}
    schema |= {} if default is None else {"default": default}
    return {"parameters": [{"name": name, "in": "query", "required": False, "schema": schema}]}


def request_body(*names: str) -> dict[str, Any]:
    """Return the request body of a path: one of the named schemas."""
    schema = ref(names[0]) if len(names) == 1 else {"oneOf": [ref(name) for name in names]}
    example = {"instances": [{"b64": PICTURE}]}
    return {"requestBody": {"required": True, "content": json_content(schema, example)}}
