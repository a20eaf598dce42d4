"""Responses in the format of TensorFlow Serving's REST API (https://www.tensorflow.org/tfx/serving/api_rest)."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from starlette.responses import Response

from mnist_mlp.serve.limits import Refused
from mnist_mlp.serve.request_images import NAME, SIGNATURE

MODEL, VERSION = "mnist", "1"
STATE = {"version": VERSION, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
STATUS = {"model_version_status": [STATE]}


def tensor(name: str, dtype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return a TensorInfo in protobuf's JSON format, where 64-bit integers are strings."""
    sizes = [{"size": str(size), "name": ""} for size in shape]
    return {"dtype": dtype, "tensor_shape": {"dim": sizes, "unknown_rank": False}, "name": name}


METADATA = {
    "model_spec": {"name": MODEL, "signature_name": "", "version": VERSION},
    "metadata": {
        "signature_def": {
            "signature_def": {
                SIGNATURE: {
                    "inputs": {NAME: tensor(f"{SIGNATURE}_{NAME}:0", "DT_UINT8", (-1, 28, 28))},
                    "outputs": {"probabilities": tensor("StatefulPartitionedCall:0", "DT_FLOAT", (-1, 10))},
                    "method_name": "tensorflow/serving/predict",
                    "defaults": {},
                }
            }
        }
    },
}


def json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response. NumPy arrays are written with the fewest digits that restore each float32."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, headers, media_type="application/json")


def error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error response: {"error": message}."""
    return json({"error": message}, status, headers)


def refusal(refused: Refused) -> Response:
    """Return the response to a refused request, with Retry-After if the server is overloaded."""
    headers = {"retry-after": "1"} if refused.status == 429 else None
    return error(refused.status, str(refused), headers)


def predictions(probabilities: np.ndarray, columnar: bool) -> Response:
    """Return the response with probabilities, float32 [n, 10], in row or columnar format."""
    return json({"outputs" if columnar else "predictions": np.ascontiguousarray(probabilities)})


def not_found(path: str) -> str:
    """Return the message for an unknown path; for an unknown model or version, TensorFlow Serving's message."""
    name, _, version = path.removeprefix("/v1/models/").partition("/versions/")
    name, version = (part.partition(":")[0].partition("/")[0] for part in (name, version))
    if path.startswith("/v1/models/") and name != MODEL:
        return f"Servable not found for request: Latest({name[:60]}); the model is called {MODEL}"
    if path.startswith("/v1/models/") and version not in ("", VERSION):
        return f"Servable not found for request: Specific({name}, {version[:20]}); its one version is {VERSION}"
    return f"no such path: {path[:100]}; /docs lists all"
