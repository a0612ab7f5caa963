"""The OpenAPI document against the API: every operation, every status that it names, every body against its schema."""

import contextlib
import json
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from _support import HERE, PYTHON, ROOT, Checks, Gateway, eventually, http_server, python_http, run, stdio_server
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

DOCUMENT = json.loads((ROOT / "docs/openapi.json").read_text())

# Schemas refer to each other from the document's root.
REGISTRY = Registry().with_resource(
    "urn:openapi", Resource.from_contents({"$schema": "https://json-schema.org/draft/2020-12/schema", **DOCUMENT})
)

EXECUTE = ("/api/v1/capabilities/execute", "post")
LIST = ("/api/v1/capabilities", "get")
STATUS = ("/api/v1/auth/status", "get")
DESCRIBE = ("/api/v1/openapi.json", "get")
HEALTH = ("/health", "get")

TOKEN = {"authorization": "Bearer t0ken"}

CONFIG = """
[callers.ci]
token = "t0ken"
max_in_flight = 1

[capabilities]
timeout = "1s"
sidecar = "SIDECAR"

[capabilities."urn:acme:actionspace:solver:fine:v1"]
tool = "odd.fine"
"""


class Sidecar(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"authenticated": true}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def sidecar():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sidecar)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def resolved(node: dict) -> dict:
    """What a reference of the document leads to."""
    if "$ref" not in node:
        return node
    found = DOCUMENT
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


def validate(schema: dict, value: object) -> list[str]:
    """What is wrong with a value, by a schema of the document."""
    pointed = json.loads(json.dumps(schema).replace('"#/', '"urn:openapi#/'))
    validator = Draft202012Validator(pointed, registry=REGISTRY, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [error.message for error in validator.iter_errors(value)]


class Tester:
    """Sends requests and holds what comes to the document."""

    def __init__(self, checks: Checks, base: str) -> None:
        self.checks, self.base = checks, base
        self.reached: set[tuple[str, str, str]] = set()
        self.types: set[str] = set()

    def at(self, base: str) -> "Tester":
        other = Tester(self.checks, base)
        other.reached, other.types = self.reached, self.types
        return other

    def send(self, place: tuple[str, str], body: object = None, method: str | None = None, query: str = "", **headers: str):
        path, verb = place
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"content-type": "application/json"} if data is not None else {}
        fields.update({name.replace("_", "-"): value for name, value in headers.items()})
        verb = method or verb.upper()
        request = urllib.request.Request(self.base + path + query, data, fields, method=verb)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def expect(self, status: int, kind: str | None, place: tuple[str, str], body: object = None, **more) -> object:
        """A request that must be answered with this status, and with a problem of this type."""
        seen, headers, text = self.send(place, body, **more)
        what = f"{place[1]} {place[0]} {status} {kind or ''}".strip()
        if not self.checks.equal(what, seen, status):
            print(f"      {text[:300]!r}")
            return None
        return self.hold(what, place, status, kind, headers, text)

    def hold(self, what: str, place: tuple[str, str], status: int, kind: str | None, headers, text: bytes) -> object:
        path, verb = place
        response = resolved(DOCUMENT["paths"][path][verb]["responses"][str(status)])
        media = headers.get_content_type()
        wanted = response["content"].get(media)
        if not self.checks.that(f"{what}: of a media type of the document", wanted is not None, media):
            return None
        value = json.loads(text)
        wrong = validate(wanted["schema"], value)
        self.checks.equal(f"{what}: by its schema", wrong, [])
        for name, header in response.get("headers", {}).items():
            wrong = validate(resolved(header)["schema"], headers.get(name))
            self.checks.equal(f"{what}: its header {name}", wrong, [])
        if kind:
            self.checks.equal(f"{what}: of its type", value.get("type"), f"urn:toolbus:problem:{kind}")
            self.types.add(kind)
        self.reached.add((path, verb, str(status)))
        return value


def execution(name: str, intent: dict | None = None) -> dict:
    return {"toolName": name, "intent": intent or {}, "state": {}}


def executions(tester: Tester, **token: str) -> None:
    def execute(status: int, kind: str | None, body: object, **more: str) -> object:
        return tester.expect(status, kind, EXECUTE, body, **{**token, **more})

    for name in ("fine", "urn:acme:actionspace:solver:fine:v1", "acme-solver-fine-v1"):
        result = execute(200, None, execution(name, {"n": 1}))
        tester.checks.equal(f"{name} got the intent", result and result["structuredContent"], {"n": 1})
    failed = execute(200, None, execution("fails"))
    tester.checks.equal("a tool's failure is a result", failed and failed["isError"], True)
    execute(400, "parse", b"{")
    execute(400, "invalid-request", {"toolName": "fine"})
    execute(400, "invalid-params", execution("urn:acme:*:fine:v1:and:more"))
    tester.expect(401, "unauthenticated", EXECUTE, execution("fine"))
    execute(403, "forbidden", execution("fine"), origin="http://evil.example")
    execute(403, "untrusted-claims", execution("fine"), x_jwt_payload="e30")
    execute(404, "unknown", execution("nothing"))
    tester.expect(405, "method-not-allowed", EXECUTE, method="GET", **token)
    execute(413, "too-large", execution("fine", {"text": "x" * 10_485_760}))
    execute(415, "unsupported-media-type", b"{}", content_type="text/plain")
    error = execute(502, "upstream", execution("errs"))
    own = {"code": -32050, "message": "it errs", "data": {"why": ["none"]}}
    tester.checks.equal("a server's own error is passed on", error and error["error"], own)
    execute(500, "internal", execution("asks"))
    execute(502, "outcome-unknown", execution("dies"))
    execute(504, "deadline-exceeded", execution("sleeps"))


def busy(tester: Tester, **token: str) -> None:
    """While one call runs, the caller may make no other."""
    done, seen = threading.Event(), []

    def sleep() -> None:
        while not done.is_set():
            tester.send(EXECUTE, execution("sleeps"), **token)

    other = threading.Thread(target=sleep)
    other.start()

    def is_refused() -> bool:
        seen[:] = tester.send(EXECUTE, execution("fine"), **token)
        return seen[0] == 429

    if tester.checks.that("one call more is refused", eventually(is_refused), seen):
        tester.hold("post execute 429 busy", EXECUTE, 429, "busy", seen[1], seen[2])
    done.set()
    other.join()


def common(tester: Tester, place: tuple[str, str], **token: str) -> None:
    tester.expect(401, "unauthenticated", place)
    tester.expect(403, "forbidden", place, origin="http://evil.example", **token)
    tester.expect(405, "method-not-allowed", place, b"{}", method="POST", **token)


async def main(checks: Checks, folder: Path) -> None:
    refused = validate({"$ref": "#/components/schemas/Problem"}, {"type": "x", "title": 7})
    checks.that("a problem that is none is seen to be none", len(refused) == 4, refused)
    odd = stdio_server("odd", [PYTHON, str(HERE / "_odd.py")])
    with sidecar() as url, python_http("web", "mcp", folder) as web:
        config = odd + http_server("web", web.url) + CONFIG.replace("SIDECAR", url)
        with Gateway(checks, folder / "up", config, wait=False) as gateway:
            tester = Tester(checks, gateway.at(""))
            described = tester.expect(200, None, DESCRIBE, **TOKEN)
            checks.equal("the gateway serves the document", described, DOCUMENT)
            listed = tester.expect(200, None, LIST, **TOKEN)
            names = {one["name"] for one in listed["capabilities"]} if listed else set()
            checks.that("the list has what both servers have", {"fine", "sleeps", "add"} <= names, names)
            with checks.group("executions"):
                executions(tester, **TOKEN)
            with checks.group("one call at a time"):
                busy(tester, **TOKEN)
            for place in (LIST, STATUS, DESCRIBE):
                common(tester, place, **TOKEN)
            tester.expect(404, "unknown", LIST, query="?cursor=none", **TOKEN)
            tester.expect(200, None, STATUS, **TOKEN)
            tester.expect(200, None, HEALTH)
            tester.expect(200, None, EXECUTE, execution("add", {"a": 1, "b": 2}), **TOKEN)
            web.kill()
            tester.expect(503, "unavailable", EXECUTE, execution("add", {"a": 1, "b": 2}), **TOKEN)
        trusting = CONFIG.replace("[capabilities]", '[capabilities]\ntrusted_peers = ["127.0.0.1"]')
        trusting = trusting.replace("SIDECAR", "http://127.0.0.1:1")
        with Gateway(checks, folder / "trusting", odd + trusting, wait=False) as gateway:
            other = tester.at(gateway.at(""))
            other.expect(200, None, EXECUTE, execution("fine"), **TOKEN)
            other.expect(403, "tenant-mismatch", EXECUTE, execution("fine", {"tenant_cid": "x"}), **TOKEN)
            other.expect(502, "sidecar-unavailable", STATUS, **TOKEN)

    documented = {
        (path, verb, status)
        for path, operations in DOCUMENT["paths"].items()
        for verb, operation in operations.items()
        for status in operation["responses"]
        if status != "default"
    }
    checks.equal("every documented status was reached", sorted(documented - tester.reached), [])
    text = json.dumps(DOCUMENT)
    kinds = {part.split('"')[0] for part in text.split('"urn:toolbus:problem:')[1:]}
    checks.equal("every documented type was reached", sorted(kinds - tester.types), [])


if __name__ == "__main__":
    run(main, within=120)
