"""Foreign workers and callers on the published subjects, with a real nats-server and scripts of twenty lines."""

import asyncio
import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nats
from _nats import Broker
from _support import HERE, PYTHON, ROOT, TOOLBUS, Checks, Gateway, eventually, run
from mcp import Client

URN = "urn:demo:actionspace:solver:add:v1"
ALIAS = "demo-solver-add-v1"
KEY = URN.replace(":", ".")

CONFIG = """
[mesh]
url = "{url}"
compat = "coreason"

[capabilities]
timeout = "2s"
{more}
"""


class Script:
    """A process of an example, killed when it is left."""

    def __init__(self, folder: Path, *command: str) -> None:
        with (folder / "script.log").open("ab") as log:
            self.child = subprocess.Popen([PYTHON, *command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self) -> "Script":
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.wait()


def execute(gateway: Gateway, name: str, intent: dict, **headers: str) -> tuple[int, dict]:
    body = json.dumps({"toolName": name, "intent": intent, "state": {}}).encode()
    fields = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    request = urllib.request.Request(gateway.at("/api/v1/capabilities/execute"), body, fields)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def listed(gateway: Gateway, **headers: str) -> dict[str, str]:
    request = urllib.request.Request(gateway.at("/api/v1/capabilities"), headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return {one["urn"]: one["name"] for one in json.load(answer)["capabilities"]}


async def is_listed(gateway: Gateway, urn: str, wanted: bool = True, **headers: str) -> bool:
    def seen() -> bool:
        return (urn in listed(gateway, **headers)) == wanted

    return await asyncio.to_thread(eventually, seen)


async def plain_worker(checks: Checks, gateway: Gateway, folder: Path, url: str) -> None:
    with Script(folder, "examples/coreason/worker.py", url):
        checks.that("worker.py is found", await is_listed(gateway, URN))
        for name in (URN, ALIAS):
            seen = await asyncio.to_thread(execute, gateway, name, {"a": 1, "b": 2})
            checks.equal(f"it is called by HTTP as {name}", (seen[0], seen[1]["content"][0]["text"]), (200, "3"))
        for mode in ("2026-07-28", "legacy"):
            async with Client(gateway.url, mode=mode) as client:
                tools = {tool.name: tool for tool in (await client.list_tools()).tools}
                checks.equal(f"{mode}: it is a tool", tools[ALIAS].description, "Adds.")
                result = await client.call_tool(ALIAS, {"a": 20, "b": 22})
                checks.equal(f"{mode}: and is called", result.content[0].text, "42")
    status, problem = await asyncio.to_thread(execute, gateway, URN, {"a": 1, "b": 2})
    checks.equal("once it is gone nobody serves it", (status, problem["type"]), (503, "urn:toolbus:problem:unavailable"))


async def odd_workers(checks: Checks, gateway: Gateway, client: nats.NATS) -> None:
    """What a worker may answer, each under a URN of its own that it registers itself."""
    heard = {}

    async def register(name: str, answer) -> str:
        urn = f"urn:odd:actionspace:oracle:{name}:v1"

        async def invoke(message) -> None:
            heard[name] = message
            if (reply := answer(json.loads(message.data))) is not None:
                await message.respond(reply)

        await client.subscribe(f"coreason.tool.{urn.replace(':', '.')}.invoke", cb=invoke)
        await client.publish("coreason.registry.update", json.dumps({"name": urn, "description": name}).encode())
        return urn

    def response(request: dict, **more: object) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "id": request["id"], **more}).encode()

    urns = {
        "plain": await register("plain", lambda request: response(request, result={"sum": 3})),
        "error": await register("error", lambda request: response(request, error={"code": -32050, "message": "no"})),
        "garbage": await register("garbage", lambda _: b'{"jsonrpc":'),
        "silent": await register("silent", lambda _: None),
    }
    for name, urn in urns.items():
        checks.that(f"a worker that registers itself is found: {name}", await is_listed(gateway, urn))
    seen = await asyncio.to_thread(execute, gateway, urns["plain"], {"tenant_cid": "acme"}, x_jwt_payload="eyJzdWIiOiJhY21lIiwic3BpZmZlX2lkIjoic3BpZmZlOi8vYWNtZS94In0", x_tenant_cid="forged")
    checks.equal("a result that is none of MCP's comes as it is", seen, (200, {"sum": 3}))
    headers = heard["plain"].headers or {}
    checks.equal("the worker is told the tenant that was shown", headers.get("X-Tenant-CID"), "acme")
    checks.equal("and the workload", headers.get("X-SPIFFE-ID"), "spiffe://acme/x")
    asked = json.loads(heard["plain"].data)
    checks.equal("and the URN", asked["params"], {"arguments": {"tenant_cid": "acme"}, "name": urns["plain"]})
    heard.clear()
    forged = await asyncio.to_thread(execute, gateway, urns["plain"], {"tenant_cid": "other"}, x_jwt_payload="eyJzdWIiOiJhY21lIn0")
    checks.equal("another tenant is refused", (forged[0], forged[1]["type"]), (403, "urn:toolbus:problem:tenant-mismatch"))
    checks.equal("before anything is published", heard, {})
    for name, status, kind, word in (
        ("error", 502, "upstream", "no"),
        ("garbage", 502, "outcome-unknown", "no JSON-RPC response"),
        ("silent", 502, "outcome-unknown", "no answer within 2 s"),
    ):
        seen = await asyncio.to_thread(execute, gateway, urns[name], {})
        checks.equal(f"{name}: {status}", (seen[0], seen[1]["type"]), (status, f"urn:toolbus:problem:{kind}"))
        checks.that(f"{name}: its detail says why", word in seen[1]["detail"], seen[1])
    large = await asyncio.to_thread(execute, gateway, urns["plain"], {"x": "x" * 2_000_000})
    checks.equal("what the broker does not take is too large", (large[0], large[1]["type"]), (413, "urn:toolbus:problem:too-large"))
    checks.that("and its limit is named", "1048576" in large[1]["detail"], large[1])


async def registry(checks: Checks, gateway: Gateway, client: nats.NATS) -> None:
    bucket = await client.jetstream().key_value("coreason-registry")
    status = await bucket.status()
    checks.equal("the registry keeps five values and no time", (status.history, status.ttl), (5, 0))
    urn = "urn:odd:actionspace:oracle:plain:v1"
    entered = json.loads((await bucket.get(urn.replace(":", "."))).value)
    checks.equal("a worker that registers itself is a draft", entered["epistemic_status"], "DRAFT")
    for standing in ("QUARANTINED", "RETRACTED"):
        await bucket.put(urn.replace(":", "."), json.dumps({**entered, "epistemic_status": standing}).encode())
        checks.that(f"{standing} is not listed", await is_listed(gateway, urn, wanted=False))
        seen = await asyncio.to_thread(execute, gateway, urn, {})
        checks.equal(f"{standing} is not called", seen[0], 404)
        await bucket.put(urn.replace(":", "."), json.dumps({**entered, "epistemic_status": "PUBLISHED"}).encode())
        checks.that("and comes back", await is_listed(gateway, urn))


async def receipts(checks: Checks, gateway: Gateway, client: nats.NATS) -> None:
    stream = client.jetstream()
    info = await stream.stream_info("coreason-federation-audit")
    checks.equal("the stream of receipts is there", info.config.subjects, ["coreason.federation.audit"])
    calls = [one for one in gateway.records() if one["door"] == "capability"]
    subscription = await stream.pull_subscribe("coreason.federation.audit", stream="coreason-federation-audit")
    seen = [json.loads(message.data) for message in await subscription.fetch(info.state.messages, timeout=5)]
    ids = {one["receipt_id"] for one in seen}
    checks.equal("each has an id of its own", len(ids), len(seen))
    fields = {"receipt_id", "agreement_id", "source_instance", "destination_instance", "urn", "timestamp", "status", "payload_hash", "dlp_passed"}
    checks.that("and all fields", all(set(one) == fields for one in seen), seen[:1])
    good = [one for one in seen if one["status"] == "SUCCESS"]
    checks.equal("one for each call that went well", len(good), sum(one["outcome"] == "ok" for one in calls))
    checks.that("and one for each other", len(seen) >= len(calls), (len(seen), len(calls)))


async def receipts_wait(checks: Checks, folder: Path, broker: Broker) -> None:
    """While there is no stream they are kept, and then sent once."""
    odd = f'[servers.odd.stdio]\ncommand = ["{PYTHON}", "{HERE}/_odd.py"]\n'
    with Gateway(checks, folder / "waiting", odd + CONFIG.format(url=broker.url, more=""), wait=False) as gateway:
        checks.that("its own tool is there", await is_listed(gateway, "urn:toolbus:tool:odd:fine"))
        broker.kill()
        kept = folder / "waiting/toolbus/receipts-0.jsonl"
        seen = [await asyncio.to_thread(execute, gateway, name, {"n": 1}) for name in ("fine", "errs", "fine")]
        checks.equal("without a broker own tools are called", [one[0] for one in seen], [200, 502, 200])

        def lines() -> list[str]:
            return kept.read_text().splitlines() if kept.exists() else []

        checks.that("and their receipts kept", await asyncio.to_thread(eventually, lambda: len(lines()) == 3), lines())
        ids = {json.loads(line)["receipt_id"] for line in lines()}
        broker.again()
        checks.that("until it is back", await asyncio.to_thread(eventually, lambda: not lines()), lines())
        client = await nats.connect(broker.url)
        stream = client.jetstream()
        subscription = await stream.pull_subscribe("coreason.federation.audit", stream="coreason-federation-audit")
        info = await stream.stream_info("coreason-federation-audit")
        sent = [json.loads(message.data) for message in await subscription.fetch(info.state.messages, timeout=5)]
        checks.equal("each is sent once", sorted(one["receipt_id"] for one in sent if one["receipt_id"] in ids), sorted(ids))
        await client.close()


LOCKED = """jetstream {}
authorization { users = [
  { user: gateway, password: g, permissions: { publish: { deny: ["coreason.tool.urn.>"] } } }
  { user: worker, password: w }
] }"""


async def denied(checks: Checks, folder: Path) -> None:
    """What the broker does not permit is said at once, and not waited for."""
    with Broker(folder, "locked", LOCKED) as broker:
        config = CONFIG.format(url=broker.url, more="").replace("compat =", 'user = "gateway"\npassword = "g"\ncompat =')
        url = broker.url.replace("nats://", "nats://worker:w@")
        with Gateway(checks, folder / "locked-up", config, wait=False) as gateway:
            with Script(folder, "examples/coreason/worker.py", url):
                checks.that("a worker that may not be called is found", await is_listed(gateway, URN))
                status, problem = await asyncio.to_thread(execute, gateway, URN, {"a": 1, "b": 2})
                checks.equal("its call is refused", (status, problem["type"]), (503, "urn:toolbus:problem:unavailable"))
                checks.that("and the permission named", "does not let this gateway publish to" in problem["detail"], problem)


async def cleared(checks: Checks, folder: Path, url: str) -> None:
    """Who is cleared for less sees less."""
    callers = '[callers.few]\ntoken = "few"\nclearance = "public"\n[callers.all]\ntoken = "all"\n'
    config = CONFIG.format(url=url, more=callers)
    with Gateway(checks, folder / "cleared", config, wait=False) as gateway:
        urn = "urn:odd:actionspace:oracle:error:v1"
        few, everything = {"authorization": "Bearer few"}, {"authorization": "Bearer all"}
        checks.that("who is cleared sees what is restricted", await is_listed(gateway, urn, **everything))
        checks.that("who is not does not", urn not in listed(gateway, **few))
        seen = await asyncio.to_thread(execute, gateway, urn, {}, **few)
        checks.equal("and cannot call it", (seen[0], seen[1]["type"]), (404, "urn:toolbus:problem:unknown"))
        seen = await asyncio.to_thread(execute, gateway, urn, {}, **everything)
        checks.equal("who is cleared can", seen[0], 502)


async def plain_caller(checks: Checks, gateway: Gateway, folder: Path, url: str) -> None:
    """A worker of ours, reached by a script that knows nothing of Toolbus."""
    environment = {"PATH": "/usr/bin:/bin", "XDG_STATE_HOME": str(folder)}
    odd = [PYTHON, str(HERE / "_odd.py")]
    command = [TOOLBUS, "worker", "--nats", url, "--compat", "coreason", "--name", "odd", "--", *odd]
    with (folder / "worker.log").open("ab") as log:
        worker = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        urn = "urn:toolbus:tool:odd:fine"
        found = await is_listed(gateway, urn)
        checks.that("a worker of ours is found", found, (folder / "worker.log").read_text()[-600:])
        names = [name for one, name in listed(gateway).items() if "fine" in one]
        checks.equal("and is listed once, although it answers on the published subjects too", names, ["fine"])
        caller = [PYTHON, "examples/coreason/caller.py", urn, '{"n": 7}', url]
        seen = await asyncio.to_thread(subprocess.run, caller, cwd=ROOT, capture_output=True, text=True, timeout=60)
        reply = json.loads(seen.stdout or "{}")
        said = reply.get("result", {}).get("structuredContent")
        checks.equal("caller.py calls it", (said, seen.stderr), ({"n": 7}, ""))
        seen = await asyncio.to_thread(execute, gateway, urn, {"n": 8})
        checks.equal("and so does the capability API", (seen[0], seen[1].get("structuredContent")), (200, {"n": 8}))
    finally:
        worker.terminate()
        worker.wait(30)


def peer(name: str, instance: str, other: str, url: str, more: str) -> str:
    return f"""
[mesh]
url = "{url}"
prefix = "{name}"
[capabilities."urn:{instance}:actionspace:oracle:who:v1"]
tool = "odd.fine"
[capabilities."urn:{instance}:actionspace:oracle:secret:v1"]
tool = "odd.fails"
[federation]
instance = "{instance}"
[federation.peers.{other}]
agreement = "agreement-7"
{more}
"""


async def federation(checks: Checks, folder: Path, url: str, client: nats.NATS) -> None:
    """Two gateways that share nothing but the published subjects and an agreement."""
    odd = f'[servers.odd.stdio]\ncommand = ["{PYTHON}", "{ROOT}/crates/toolbus/tests/clients/_odd.py"]\n'
    east = peer("east", "east", "west", url, 'shares = ["urn:east:*:who:*"]')
    west = peer("west", "west", "east", url, 'capabilities = ["urn:east:actionspace:oracle:who:v1", "urn:east:actionspace:oracle:secret:v1"]')
    with Gateway(checks, folder / "east", odd + east) as first, Gateway(checks, folder / "west", odd + west) as second:
        urn = "urn:east:actionspace:oracle:who:v1"
        checks.that("what the peer has is listed", await is_listed(second, urn))
        seen = await asyncio.to_thread(execute, second, urn, {"n": 1})
        checks.equal("and is called there", (seen[0], seen[1].get("structuredContent")), (200, {"n": 1}))
        doors = [one["door"] for one in first.records()]
        checks.that("where it comes through the federation", eventually(lambda: [one["door"] for one in first.records()] == ["federation"]), doors)
        seen = await asyncio.to_thread(execute, second, "urn:east:actionspace:oracle:secret:v1", {})
        checks.equal("what is not shared is unknown there", (seen[0], seen[1].get("error", {}).get("code")), (502, -32602))
        request = {"federation": {"source_instance": "west", "target_instance": "east", "agreement_id": "forged"}}
        request |= {"id": "1", "jsonrpc": "2.0", "method": "tools/call", "params": {"arguments": {}, "name": urn}}
        reply = await client.request("coreason.federation.east.invoke", json.dumps(request).encode(), timeout=10)
        error = json.loads(reply.data)["error"]
        checks.equal("a forged agreement is refused", (error["code"], "agreement" in error["message"]), (-32600, True))
    subscription = await client.jetstream().pull_subscribe("coreason.federation.audit", stream="coreason-federation-audit")
    noted: list[dict[str, Any]] = []

    def both() -> list[tuple[str, str]]:
        return [(one["source_instance"], one["destination_instance"]) for one in noted if one["agreement_id"] and one["urn"] == urn]

    # Until both are there, and once more for what should not be.
    for last in (False,) * 30 + (True,):
        if last or len(both()) < 2:
            try:
                noted += [json.loads(message.data) for message in await subscription.fetch(100, timeout=1)]
            except TimeoutError:
                pass
    checks.equal("both sides have a receipt of the call", sorted(both()), [("west", "east"), ("west", "east")])


async def main(checks: Checks, folder: Path) -> None:
    with Broker(folder) as broker:
        client = await nats.connect(broker.url)
        config = CONFIG.format(url=broker.url, more='trusted_peers = ["127.0.0.1"]')
        with Gateway(checks, folder / "up", config, wait=False) as gateway:
            await plain_worker(checks, gateway, folder, broker.url)
            with checks.group("a plain caller"):
                await plain_caller(checks, gateway, folder, broker.url)
            with checks.group("odd workers"):
                await odd_workers(checks, gateway, client)
            with checks.group("the registry"):
                await registry(checks, gateway, client)
            with checks.group("clearance"):
                await cleared(checks, folder, broker.url)
            with checks.group("receipts"):
                await receipts(checks, gateway, client)
        with checks.group("federation"):
            await federation(checks, folder, broker.url, client)
        await client.close()
        with checks.group("permissions"):
            await denied(checks, folder)
        with checks.group("receipts without a stream"):
            await receipts_wait(checks, folder, broker)


if __name__ == "__main__":
    run(main, within=180)
