"""The answers, in the shapes of TensorFlow Serving's REST API (https://www.tensorflow.org/tfx/serving/api_rest)."""

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
    """A TensorInfo, in the JSON of protocol buffers, where 64-bit numbers are text."""
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
    """An answer of JSON; NumPy's arrays may be in it, with as few digits as give a float32 back."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, headers, media_type="application/json")


def error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return json({"error": message}, status, headers)


def refusal(refused: Refused) -> Response:
    headers = {"retry-after": "1"} if refused.status == 429 else None
    return error(refused.status, str(refused), headers)


def predictions(probabilities: np.ndarray, columns: bool) -> Response:
    """Of float32 [n, 10]."""
    return json({"outputs" if columns else "predictions": np.ascontiguousarray(probabilities)})


def wrong_place(path: str) -> str:
    """What is said of a path that leads nowhere, of a model or a version as TensorFlow Serving says it."""
    name, _, version = path.removeprefix("/v1/models/").partition("/versions/")
    name, version = (part.partition(":")[0].partition("/")[0] for part in (name, version))
    if path.startswith("/v1/models/") and name != MODEL:
        return f"Servable not found for request: Latest({name[:60]}); the model is called {MODEL}"
    if path.startswith("/v1/models/") and version not in ("", VERSION):
        return f"Servable not found for request: Specific({name}, {version[:20]}); its one version is {VERSION}"
    return f"there is nothing at {path[:100]}; /docs lists what there is"
