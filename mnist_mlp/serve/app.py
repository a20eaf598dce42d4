"""The routes: TensorFlow Serving's REST API, health, metrics, and the page."""

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
from mnist_mlp.serve.limits import Limits, Refused
from mnist_mlp.serve.metrics import Metrics
from mnist_mlp.serve.middleware import Front, names_of
from mnist_mlp.serve.model import About, Network
from mnist_mlp.serve.request_bodies import Bodies

PAGE = Path(__file__).with_name("page")
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PLACES = {"/": "index.html", "/docs": "docs.html"}  # the other files of the page are at /page/NAME
MODEL = f"/v1/models/{responses.MODEL}"
VERSION = f"{MODEL}/versions/{responses.VERSION}"
ERRORS = {
    400: "What was asked cannot be read; `error` says what was expected and what was received.",
    403: "A page of another site asks, or the server is asked by a name that is not its own.",
    413: "More bytes, images or pixels than the server takes.",
    415: "A body that is compressed, or no JSON.",
    429: "Too many requests are waiting.",
}
ABOUT = """A digit classifier behind the REST API of TensorFlow Serving. Same image, same probabilities as
`python -m mnist_mlp.predict` prints."""


@dataclasses.dataclass(frozen=True)
class Service:
    """What the routes need."""

    network: Network
    about: About
    examples: Examples
    limits: Limits
    metrics: Metrics = dataclasses.field(default_factory=Metrics)


def make_app(service: Service, host: str = "127.0.0.1") -> ASGIApp:
    """The application of a server that listens at `host`."""
    app = FastAPI(title="mnist_mlp", version=__version__, description=ABOUT, docs_url=None, redoc_url=None)
    predict = add_models(app, service)
    add_service(app, service)
    add_page(app, service)
    add_errors(app)

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            found = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
            found["components"] = {"schemas": schema.schemas(service.limits)}
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    routes = {route.path for route in app.routes if hasattr(route, "path")}
    # Probabilities are what a server is asked for thousands of times a second: the layers of FastAPI, 0.1 ms a request,
    # would be as much as all else that is done for one.
    direct = {f"{MODEL}:predict": predict, f"{VERSION}:predict": predict}
    return Front(app, direct, service.metrics, routes, names_of(host))


def add_models(app: FastAPI, service: Service) -> Callable[[Request], Awaitable[Response]]:
    """The API of TensorFlow Serving, and what the network does with an image. Gives the endpoint of `:predict`."""
    batches = Batches(service.network.look, service.network.sizes[-1], service.metrics.batch)
    bodies = Bodies(service.limits)
    service.metrics.waiting.set_function(lambda: batches.waiting)
    forbidden = {403: ERRORS[403]}

    async def status() -> Response:
        return responses.json(responses.STATUS)

    async def metadata() -> Response:
        return responses.json(responses.METADATA)

    async def predict(request: Request) -> Response:
        question = await bodies.question(request)
        return responses.predictions((await batches.look(question.images))[-1], question.columns)

    async def look(request: Request) -> Response:
        question = await bodies.question(request)
        if len(question.images) != 1:
            raise Refused(400, f"expected one image, received {len(question.images):,}")
        *hidden, probabilities = await batches.look(question.images)
        layers = [
            {"name": name, "activations": output[0]}
            for name, output in zip(service.network.names, hidden, strict=True)
        ]  # fmt: skip
        return responses.json({"image": question.images[0], "probabilities": probabilities[0], "layers": layers})

    found = {"oneOf": [schema.ref("Predictions"), schema.ref("Outputs")]}
    asked: dict[str, Any] = {"methods": ["POST"], "openapi_extra": schema.body("Instances", "Inputs")}
    for place, end, tag in ((MODEL, "", "model"), (VERSION, "_of_version", "version")):
        known: dict[str, Any] = {"methods": ["GET"], "tags": [tag], "responses": schema.answers("Object", forbidden)}
        app.add_api_route(place, status, summary="Whether the model can be asked", name=f"status{end}", **known)
        app.add_api_route(
            f"{place}/metadata", metadata, summary="Its input and output", name=f"metadata{end}", **known
        )  # fmt: skip
        app.add_api_route(
            f"{place}:predict", predict, summary="The probabilities of images", name=f"predict{end}", tags=[tag],
            responses=schema.answers(found, ERRORS), **asked,
        )  # fmt: skip
    app.add_api_route(
        "/page/look", look, summary="One image as the network sees it, its probabilities, and every hidden neuron",
        name="look", tags=["page"], methods=["POST"], openapi_extra=schema.body("One"),
        responses=schema.answers("Look", ERRORS),
    )  # fmt: skip
    return predict


def add_service(app: FastAPI, service: Service) -> None:
    """Health and metrics."""

    async def healthz() -> Response:
        return responses.json(service.about.as_dict())

    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=service.metrics.content_type)

    forbidden = {403: ERRORS[403]}
    text = {200: {"description": "Done.", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    healthy: dict[str, Any] = {"tags": ["service"], "responses": schema.answers("Object", forbidden)}
    told: dict[str, Any] = {"tags": ["service"], "responses": schema.answers("Object", forbidden) | text}
    app.add_api_route("/healthz", healthz, summary="What is served, and on which device", name="health", **healthy)
    app.add_api_route("/metrics", metrics, summary="Counts, for Prometheus", response_class=Response, **told)
    for place, answer in (("/healthz", healthz), ("/metrics", metrics)):
        app.add_api_route(place, answer, methods=["HEAD"], include_in_schema=False)


def add_page(app: FastAPI, service: Service) -> None:
    """The page, its files, and the examples on it. All of it is read once."""

    async def examples(request: Request) -> Response:
        given = request.query_params.get("round", "0")
        if not (given.isascii() and given.isdigit() and len(given) <= 6):
            raise Refused(400, f"round: expected a whole number from 0 to 999,999, received {given[:40]!r}")
        return responses.json(service.examples.round(int(given)))

    parameter = {
        "name": "round", "in": "query", "required": False,
        "schema": {"type": "integer", "minimum": 0, "maximum": 999_999, "default": 0},
    }  # fmt: skip
    app.add_api_route(
        "/page/examples", examples, summary="Ten test images, one of each class", name="examples", tags=["page"],
        methods=["GET"], openapi_extra={"parameters": [parameter]},
        responses=schema.answers("Examples", {code: ERRORS[code] for code in (400, 403)}),
    )  # fmt: skip
    places = PLACES | {f"/page/{file.name}": file.name for file in PAGE.iterdir() if file.suffix != ".html"}
    for place, name in places.items():
        app.add_route(place, file_answer(PAGE / name), methods=["GET", "HEAD"], include_in_schema=False)


def file_answer(file: Path) -> Any:
    """An endpoint that gives a file of the page."""
    content, kind = file.read_bytes(), KINDS[file.suffix]

    async def give(request: Request) -> Response:
        return Response(content, headers={"cache-control": "no-cache"}, media_type=kind)

    return give


def add_errors(app: FastAPI) -> None:
    """Errors in the shape of TensorFlow Serving's: {"error": "…"}."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return responses.refusal(error)

    @app.exception_handler(HTTPException)
    async def of_starlette(request: Request, error: HTTPException) -> Response:
        words = str(error.detail)
        if error.status_code == 404:
            words = responses.wrong_place(request.url.path)
        elif error.status_code == 405 and error.headers:
            words = f"expected {error.headers.get('Allow', 'another method')}, received {request.method}"
        return responses.error(error.status_code, words, dict(error.headers or {}))
