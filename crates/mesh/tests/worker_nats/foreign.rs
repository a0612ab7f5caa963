//! A foreign client: nats-py, which knows nothing of Toolbus.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toolbus_mesh::worker::{Compat, Settings};

use crate::puppet::Puppet;
use crate::scene::worker;
use crate::server::Server;

/// Asks the service protocol as its own client does, and calls a tool on its published subject.
const SCRIPT: &str = r#"
import asyncio, json, sys
import nats
from nats.micro.service import ServiceInfo, ServicePing, ServiceStats

async def main(url, worker):
    nc = await nats.connect(url)
    for verb, kind in [("PING", ServicePing), ("INFO", ServiceInfo), ("STATS", ServiceStats)]:
        for subject in [f"$SRV.{verb}", f"$SRV.{verb}.math", f"$SRV.{verb}.math.{worker}"]:
            reply = await nc.request(subject, b"", timeout=10)
            read = kind.from_dict(json.loads(reply.data))
            assert (read.name, read.id) == ("math", worker), read
            assert json.loads(reply.data)["type"] == f"io.nats.micro.v1.{verb.lower()}_response", reply.data
            if verb != "PING":
                assert any(e.subject == "toolbus.v1.tool._.math=2Eecho.invoke" for e in read.endpoints), read
    body = {"id": "1", "jsonrpc": "2.0", "method": "tools/call",
            "params": {"name": "urn:toolbus:tool:math:echo", "arguments": {"a": 1}}}
    subject = "coreason.tool.urn.toolbus.tool.math.echo.invoke"
    reply = await nc.request(subject, json.dumps(body).encode(), timeout=10)
    answer = json.loads(reply.data)
    assert answer["result"]["structuredContent"] == {"a": 1}, answer
    inbox = nc.new_inbox()
    found = await nc.subscribe(inbox)
    await nc.publish("coreason.tool.discover", b'{"action":"discover"}', reply=inbox)
    names = {json.loads((await found.next_msg(timeout=10)).data)["name"] for _ in range(9)}
    assert "urn:toolbus:tool:math:echo" in names, names
    print("all right")
    await nc.close()

asyncio.run(main(*sys.argv[1:]))
"#;

fn python() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let named = std::env::var_os("TOOLBUS_PYTHON").map(PathBuf::from);
    let found = named.into_iter().chain([here]).find(|path| path.exists());
    if found.is_none() {
        #[expect(
            clippy::print_stderr,
            reason = "a test that does not run must not look like one that passed"
        )]
        {
            eprintln!("skipped: no Python environment");
        }
    }
    found
}

#[tokio::test]
async fn nats_py_knows_the_service_and_calls_its_tool() {
    let (Some(server), Some(python)) = (Server::start_plain().await, python()) else {
        return;
    };
    let settings = Settings {
        compat: Some(Compat::new("coreason").expect("a prefix")),
        ..Settings::default()
    };
    let worker = worker(&server, &Puppet::new(), settings).await;
    let mesh = crate::scene::mesh(&server).await;
    crate::scene::remote(&mesh, 1).await;
    let script = std::process::Stdio::piped();
    let mut asked = tokio::process::Command::new(python);
    asked.args(["-c", SCRIPT, &server.address(), worker.id()]);
    asked
        .stdout(script)
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    let said = tokio::time::timeout(Duration::from_secs(60), asked.output()).await;
    let said = said.expect("in time").expect("it runs");
    let (out, err) = (
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr),
    );
    assert_eq!(out.trim(), "all right", "{err}");
    mesh.close().await;
    worker.drain().await;
}
