"""Pages of other origins and proxies in front of the server: closed by default, opened by an option."""

import asyncio
import contextlib
import http.client
import http.server
import json
import threading

import pytest
from helpers import asgi

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("orjson", reason="the extra serve is not installed")

import uvicorn
from helpers.serving import NumPyNetwork

from mnist_mlp.errors import UserError
from mnist_mlp.serve.app import Service, make_app
from mnist_mlp.serve.examples import Examples
from mnist_mlp.serve.explanations import Explainer
from mnist_mlp.serve.limits import Limits
from mnist_mlp.serve.model import About
from mnist_mlp.serve.origins import access_to, checked

PREDICT = "/v1/models/mnist:predict"
BODY = json.dumps({"instances": [[[0] * 28] * 28]})
LAB = "https://lab.example"
ABOUT = About("run", "mlp", 1, [("hidden_1", 128)], "digits", list("0123456789"), 0.9, "CPU", "jax", [], [], "0")


def app_of(*origins, host="127.0.0.1", behind_proxy=False):
    network = NumPyNetwork(4)
    service = Service(network, ABOUT, Examples(None), Explainer(network.plain(), None, "gone"), Limits())
    return make_app(service, access_to(host, origins, behind_proxy))


@contextlib.contextmanager
def served(app):
    """The application on a port of this machine, as (host, port)."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        thread.join(20)


@contextlib.contextmanager
def behind(address, *, prefix="", origin=None, **headers):
    """A proxy before `address`, as nginx is by default: it puts its own Host, and passes the other headers on.

    `prefix` is cut from paths, as `location /mnist/ { proxy_pass http://…/; }` does; `headers` are added, with {host}
    for the one that the client asked for; `origin` replaces Origin, as the proxy of a codespace does.
    """

    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            sent = dict(self.headers.items()) | {"Host": f"{address[0]}:{address[1]}", "Connection": "close"}
            sent |= {name.replace("_", "-"): text.format(host=self.headers["host"]) for name, text in headers.items()}
            if origin and "Origin" in sent:
                sent["Origin"] = origin
            upstream = http.client.HTTPConnection(*address, timeout=20)
            upstream.request(self.command, "/" + self.path.removeprefix(prefix).lstrip("/"), body, sent)
            answer = upstream.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name not in ("content-length", "connection", "date", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if self.command != "HEAD" else b"")
            upstream.close()

        do_GET = do_POST = do_OPTIONS = pass_on

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        yield proxy.server_address
        proxy.shutdown()


def asked(address, method="POST", path=PREDICT, body=BODY, **headers):
    """The status, headers and text of the answer to a request, as a browser sends it from a page."""
    connection = http.client.HTTPConnection(*address, timeout=20)
    sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    connection.request(method, path, body if method == "POST" else None, sent)
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    connection.close()
    return found


@pytest.mark.slow
def test_behind_a_proxy_that_rewrites_host():
    """nginx with `proxy_pass` alone: the server sees its own address as Host, and the page's in Origin."""
    page = {"Host": "lab.example", "Origin": LAB}
    with served(app_of()) as address, behind(address) as proxy:
        status, _, text = asked(proxy, **page)
        assert status == 403 and f"--origin={LAB}" in text and "--behind_proxy" in text
    with served(app_of(LAB)) as address, behind(address) as proxy:  # the proxy gets the page's address
        status, _, text = asked(proxy, **page)
        assert status == 200 and len(json.loads(text)["predictions"][0]) == 10
        assert asked(proxy, Host="lab.example", Origin="https://evil.example")[0] == 403
    forwarded = {"X_Forwarded_Host": "{host}", "X_Forwarded_Proto": "https"}
    with served(app_of(behind_proxy=True)) as address:  # or the proxy says it
        with behind(address, **forwarded) as proxy:
            assert asked(proxy, **page)[0] == 200
            assert asked(proxy, Host="lab.example", Origin="http://lab.example")[0] == 403  # of another scheme
            assert asked(proxy, Host="lab.example", Origin="https://evil.example")[0] == 403
        with behind(address) as proxy:  # which says nothing: Host is all that is known
            assert asked(proxy, **page)[0] == 403
    with served(app_of()) as address, behind(address, **forwarded) as proxy:  # without the option it is not believed
        assert asked(proxy, **page)[0] == 403


def test_behind_a_proxy_that_rewrites_origin():
    """As a codespace: Host is the page's or the server's, Origin is rewritten to the server's."""
    name = "name-8501.app.github.dev"
    with served(app_of(behind_proxy=True)) as address:
        local = f"http://localhost:{address[1]}"
        for host in ("{host}", f"localhost:{address[1]}"):
            with behind(address, origin=local, Host=host, X_Forwarded_Host="{host}") as proxy:
                assert asked(proxy, Host=name, Origin=f"https://{name}")[0] == 200
    with served(app_of()) as address, behind(address, origin="http://localhost:1", Host="{host}") as proxy:
        status, _, text = asked(proxy, Host=name, Origin=f"https://{name}")
        assert status == 403 and "--behind_proxy" in text and name in text


def test_below_the_prefix_of_a_proxy():
    forwarded = {"X_Forwarded_Host": "{host}", "X_Forwarded_Proto": "https", "X_Forwarded_Prefix": "/mnist"}
    page = {"Host": "lab.example", "Origin": LAB}
    with served(app_of(behind_proxy=True)) as address:
        for prefix in ("/mnist", ""):  # that the proxy cuts off, or leaves
            with behind(address, prefix=prefix, **forwarded) as proxy:
                assert asked(proxy, path=f"/mnist{PREDICT}", **page)[0] == 200
                status, _, text = asked(proxy, "GET", "/mnist/", **page)
                assert status == 200 and 'src="page/page.js"' in text and 'href="docs"' in text
                document = json.loads(asked(proxy, "GET", "/mnist/openapi.json", **page)[2])
                assert document["servers"] == [{"url": "/mnist"}] and PREDICT in document["paths"]
        with behind(address, **forwarded) as proxy:
            status, headers, _ = asked(proxy, "GET", "/mnist", **page)
            assert (status, headers["location"]) == (307, "/mnist/")  # whence its relative links lead on
        assert "servers" not in json.loads(asked(address, "GET", "/openapi.json")[2])


def test_a_page_of_a_listed_origin_and_its_preflight():
    asks = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type,x-trace"}
    with served(app_of(LAB, "http://localhost:3000/")) as address:
        for origin in (LAB, "http://localhost:3000"):
            status, headers, text = asked(address, "OPTIONS", Origin=origin, **asks)
            assert (status, text) == (204, "") and headers["access-control-allow-origin"] == origin
            assert "POST" in headers["access-control-allow-methods"] and headers["vary"] == "Origin"
            assert headers["access-control-allow-headers"] == "content-type,x-trace"
            status, headers, _ = asked(address, Origin=origin)
            assert (status, headers["access-control-allow-origin"]) == (200, origin)
        status, headers, _ = asked(address, body="{", Origin=LAB)  # the page may read why
        assert (status, headers["access-control-allow-origin"]) == (400, LAB)
        private = {"Access_Control_Request_Private_Network": "true"}
        assert asked(address, "OPTIONS", Origin=LAB, **asks, **private)[1]["access-control-allow-private-network"]
        for origin in ("https://evil.example", "https://lab.example.evil.example", "http://lab.example", "null"):
            for method in ("OPTIONS", "POST"):
                status, headers, _ = asked(address, method, Origin=origin, **asks)
                assert status == 403 and "access-control-allow-origin" not in headers
                assert headers["vary"] == "Origin"


def ask(app, method, path, **options):
    return asyncio.run(asgi.request(app, method, path, **options))


def test_without_options_nothing_is_open():
    preflight = {"origin": LAB, "access-control-request-method": "POST"}
    answer = ask(app_of(), "OPTIONS", PREDICT, headers=preflight)
    assert answer.status_code == 403 and not {"vary", "access-control-allow-origin"} & answer.headers.keys()
    told = {"x-forwarded-host": "lab.example", "x-forwarded-proto": "https", "x-forwarded-prefix": "/mnist"}
    assert ask(app_of(), "GET", "/healthz", headers=told | {"host": "lab.example"}).status_code == 403
    assert ask(app_of(), "GET", "/mnist/healthz", headers=told).status_code == 404
    assert ask(app_of(), "OPTIONS", PREDICT, headers={"origin": "http://localhost"} | preflight).status_code == 403


def test_a_listed_page_may_have_kept_its_host():
    for host, status in (("lab.example", 200), ("lab.example:443", 200), ("evil.example", 403)):
        answer = ask(app_of("https://LAB.example:443"), "GET", "/healthz", headers={"host": host, "origin": LAB})
        assert answer.status_code == status


def test_strange_prefixes_are_ignored():
    for prefix in ("//evil.example", "https://evil.example", '/a"><script>', "mnist", "/"):
        headers = {"host": "lab.example", "x-forwarded-prefix": prefix}
        answer = ask(app_of(behind_proxy=True), "GET", "/openapi.json", headers=headers)
        assert answer.status_code == 200 and "servers" not in answer.json()


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ("*", "every site that you visit could use the server"),
        ("null", "any page can be without an origin"),
        ("lab.example", "try --origin=https://lab.example"),
        ("localhost:3000", "try --origin=https://localhost:3000"),
        ("https://lab.example/page?x=1", "received 'https://lab.example/page?x=1'; try --origin=https://lab.example"),
        ("https://*.lab.example", "expected the origin of a page"),
        ("", "scheme://host or scheme://host:port"),
    ],
)
def test_what_is_no_origin(origin, words):
    with pytest.raises(UserError) as error:
        access_to("127.0.0.1", [origin])
    assert words in str(error.value) and "\n" not in str(error.value)


def test_origins_as_browsers_write_them():
    written = ["HTTPS://Lab.Example:443/", "http://a:80", "http://a:443", "chrome-extension://abc", "http://[::1]:9"]
    assert [checked(origin) for origin in written] == [
        *(LAB, "http://a", "http://a:443", "chrome-extension://abc", "http://[::1]:9")
    ]
