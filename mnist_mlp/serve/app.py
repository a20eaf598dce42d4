"""The ASGI application: TensorFlow Serving's REST API, health, metrics, and the page."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from mnist_mlp import __version__
from mnist_mlp.serve import openapi as schema
from mnist_mlp.serve import responses
from mnist_mlp.serve.batching import Batches
from mnist_mlp.serve.examples import Examples
from mnist_mlp.serve.explanations import Explainer
from mnist_mlp.serve.limits import EXPLAINED, Limits, Refused
from mnist_mlp.serve.metrics import Metrics
from mnist_mlp.serve.middleware import Middleware
from mnist_mlp.serve.model import About, Network
from mnist_mlp.serve.origins import Access, access_to
from mnist_mlp.serve.page_files import file_endpoint
from mnist_mlp.serve.request_bodies import BodyReader

PAGE = Path(__file__).with_name("page")
PAGES = {"/": "index.html", "/docs": "docs.html"}  # other files are at /page/NAME
MODEL = f"/v1/models/{responses.MODEL}"
VERSION = f"{MODEL}/versions/{responses.VERSION}"
ERRORS = {
    400: "The request is malformed; `error` says what was expected and what was received.",
    403: "The request comes from a page of another site, or names another host.",
    413: "The request has more bytes, images or pixels than the server accepts.",
    415: "The body is compressed, or not JSON.",
    429: "Too many requests are waiting; try again in a second.",
}
ABOUT = """A digit classifier with the REST API of TensorFlow Serving. It returns the same probabilities as
`python -m mnist_mlp.predict` prints for the same image."""


@dataclasses.dataclass(frozen=True)
class Service:
    """What the routes share."""

    network: Network
    about: About
    examples: Examples
    explainer: Explainer
    limits: Limits
    of_digits: bool = True  # what its pictures must show
    metrics: Metrics = dataclasses.field(default_factory=Metrics)


def make_app(service: Service, access: Access | None = None) -> ASGIApp:
    """Return the application of a server; `access` says who may use it (default: this machine, and its own page)."""
    app = FastAPI(
        title="mnist_mlp", version=__version__, description=ABOUT, docs_url=None, redoc_url=None, openapi_url=None
    )
    predict = add_models(app, service)
    add_service(app, service)
    add_page(app, service)
    add_errors(app)

    add_openapi(app, service)
    routes = {route.path for route in app.routes if hasattr(route, "path")}
    # Predict requests bypass FastAPI's layers: at thousands of requests a second, their 0.1 ms per request would double
    # the cost of a request.
    direct = {f"{MODEL}:predict": predict, f"{VERSION}:predict": predict}
    return Middleware(app, direct, service.metrics, routes, access or access_to("127.0.0.1"))


def add_models(app: FastAPI, service: Service) -> Callable[[Request], Awaitable[Response]]:
    """Add TensorFlow Serving's API and the page's view into the network; return the endpoint of `:predict`."""
    batches = Batches(service.network.forward, service.network.sizes[-1], service.metrics.batch)
    bodies = BodyReader(service.limits, service.of_digits)
    service.metrics.waiting.set_function(lambda: batches.waiting)
    forbidden = {403: ERRORS[403]}

    async def status() -> Response:
        return responses.json(responses.STATUS)

    async def metadata() -> Response:
        return responses.json(responses.METADATA)

    async def predict(request: Request) -> Response:
        asked = await bodies.read(request)
        return responses.predictions((await batches.forward(asked.images))[-1], asked.columnar)

    async def explain(request: Request) -> Response:
        against = whole_number(request, "against", 9, None)
        images = (await bodies.read(request)).images
        if len(images) > EXPLAINED:
            raise Refused(400, f"expected at most {EXPLAINED} images to explain, received {len(images):,}")
        probabilities = (await batches.forward(images))[-1]
        explanations = await service.explainer.explain(images, probabilities, against, request.is_disconnected)
        return responses.json({"explanations": explanations})

    async def inspect(request: Request) -> Response:
        images = (await bodies.read(request, drawing=True)).images
        if len(images) != 1:
            raise Refused(400, f"expected one image, received {len(images):,}")
        *hidden, probabilities = await batches.forward(images)
        layers = [
            {"name": name, "activations": output[0]}
            for name, output in zip(service.network.names, hidden, strict=True)
        ]  # fmt: skip
        return responses.json({"image": images[0], "probabilities": probabilities[0], "layers": layers})

    predicted = {"oneOf": [schema.ref("Predictions"), schema.ref("Outputs")]}
    post: dict[str, Any] = {"methods": ["POST"], "openapi_extra": schema.request_body("Instances", "Inputs")}
    for path, suffix, tag in ((MODEL, "", "model"), (VERSION, "_of_version", "version")):
        get: dict[str, Any] = {"methods": ["GET"], "tags": [tag], "responses": schema.responses_of("Object", forbidden)}
        app.add_api_route(path, status, summary="Status of the model", name=f"status{suffix}", **get)
        app.add_api_route(
            f"{path}/metadata", metadata, summary="Input and output of the model", name=f"metadata{suffix}", **get
        )  # fmt: skip
        app.add_api_route(
            f"{path}:predict", predict, summary="Probabilities of images", name=f"predict{suffix}", tags=[tag],
            responses=schema.responses_of(predicted, ERRORS), **post,
        )  # fmt: skip
        app.add_api_route(
            f"{path}:explain", explain, summary="Why images are taken for their classes: maps of the ink that decides, "
            "and the nearest training images", name=f"explain{suffix}", tags=[tag], methods=["POST"],
            openapi_extra=schema.request_body("Few") | schema.number_in_query("against", 9),
            responses=schema.responses_of("Explanations", ERRORS),
        )  # fmt: skip
    app.add_api_route(
        "/page/look", inspect, summary="One image as the network sees it, with hidden activations and probabilities",
        name="look", tags=["page"], methods=["POST"], openapi_extra=schema.request_body("One"),
        responses=schema.responses_of("Look", ERRORS),
    )  # fmt: skip
    return predict


def add_service(app: FastAPI, service: Service) -> None:
    """Add /healthz and /metrics."""

    async def healthz() -> Response:
        return responses.json(service.about.as_dict())

    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=service.metrics.content_type)

    forbidden = {403: ERRORS[403]}
    text = {200: {"description": "Success.", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    as_json: dict[str, Any] = {"tags": ["service"], "responses": schema.responses_of("Object", forbidden)}
    as_text: dict[str, Any] = {"tags": ["service"], "responses": schema.responses_of("Object", forbidden) | text}
    app.add_api_route("/healthz", healthz, summary="The model and its device", name="health", **as_json)
    app.add_api_route("/metrics", metrics, summary="Metrics for Prometheus", response_class=Response, **as_text)
    for path, endpoint in (("/healthz", healthz), ("/metrics", metrics)):
        app.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)


def add_page(app: FastAPI, service: Service) -> None:
    """Add the page, its files, which are read once, and its examples."""

    async def examples(request: Request) -> Response:
        return responses.json(service.examples.round(whole_number(request, "round", 999_999, 0) or 0))

    app.add_api_route(
        "/page/examples", examples, summary="Ten test images, one of each class", name="examples", tags=["page"],
        methods=["GET"], openapi_extra=schema.number_in_query("round", 999_999, 0),
        responses=schema.responses_of("Examples", {code: ERRORS[code] for code in (400, 403)}),
    )  # fmt: skip
    paths = PAGES | {f"/page/{file.name}": file.name for file in PAGE.iterdir() if file.suffix != ".html"}
    for path, name in paths.items():
        app.add_route(path, file_endpoint(PAGE / name), methods=["GET", "HEAD"], include_in_schema=False)


def add_openapi(app: FastAPI, service: Service) -> None:
    """Add /openapi.json, which describes all routes so far."""
    document = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
    document["components"] = {"schemas": schema.schemas(service.limits)}

    async def openapi(request: Request) -> Response:
        prefix = getattr(request.state, "prefix", "")  # of a proxy
        return responses.json(document | {"servers": [{"url": prefix}]} if prefix else document)

    app.add_route("/openapi.json", openapi, include_in_schema=False)


def whole_number(request: Request, name: str, highest: int, default: int | None) -> int | None:
    """Return a whole number from the query, 0 to `highest`. Raise `Refused`."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) <= highest):
        raise Refused(400, f"{name}: expected a whole number from 0 to {highest:,}, received {text[:40]!r}")
    return int(text)


def add_errors(app: FastAPI) -> None:
    """Add handlers that send errors in TensorFlow Serving's format: {"error": "…"}."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return responses.refusal(error)

    @app.exception_handler(HTTPException)
    async def of_starlette(request: Request, error: HTTPException) -> Response:
        message = str(error.detail)
        if error.status_code == 404:
            message = responses.not_found(request.url.path)
        elif error.status_code == 405 and error.headers:
            message = f"expected {error.headers.get('Allow', 'another method')}, received {request.method}"
        return responses.error(error.status_code, message, dict(error.headers or {}))
