//! `toolbus worker` as a person starts it, called from the mesh.

#![allow(dead_code, reason = "parts of other tests are used here")]

#[path = "../../mesh/tests/worker/puppet.rs"]
mod puppet;
#[path = "../../mesh/tests/worker_nats/scene.rs"]
mod scene;
#[path = "../../mesh/tests/bus/server.rs"]
mod server;
mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_util::task::TaskTracker;

use scene::{call, mesh, remote};
use server::Server;
use support::{PATIENCE, command, descendants, is_running, testkit, wait_for, workspace};

/// A running worker, in a folder of its own.
struct Worker {
    child: Option<Child>,
    folder: tempfile::TempDir,
}

impl Worker {
    fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), arguments)
    }

    fn start_in(folder: tempfile::TempDir, arguments: &[&str]) -> Self {
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let child = command(folder.path())
            .arg("worker")
            .args(arguments)
            .env_remove("NATS_URL")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        Self {
            child: Some(child),
            folder,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill")
            .args([format!("-{name}"), self.pid().to_string()])
            .status();
        assert!(sent.expect("kill").success());
    }

    /// How it ends by itself.
    fn end(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        let child = self.child.as_mut().expect("it runs");
        while Instant::now() < until {
            if let Some(status) = child.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end: {}", self.log());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The Python of the test environment, with the SDK of this repository.
fn python(folder: &Path) -> Option<String> {
    let python = workspace(".venv/bin/python");
    if !python.exists() {
        #[expect(
            clippy::print_stderr,
            reason = "a test that does not run must not look like one that passed"
        )]
        {
            eprintln!("skipped: no Python environment");
        }
        return None;
    }
    let sdk = workspace("python/toolbus/src");
    let text = format!(
        "#!/bin/sh\nexec env PYTHONPATH={} {} \"$@\"\n",
        sdk.display(),
        python.display()
    );
    let path: PathBuf = folder.join("python");
    std::fs::write(&path, text).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("permitted");
    Some(path.display().to_string())
}

const MATH: &str = r#"
import asyncio

async def add(a: int, b: int) -> int:
    """Adds, after a moment."""
    await asyncio.sleep(0.003)
    return a + b
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_file_is_served_and_drained_without_losing_a_call() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let start = || {
        let folder = tempfile::tempdir().expect("a folder");
        // Python has a module of this name itself.
        std::fs::write(folder.path().join("math.py"), MATH).expect("written");
        let python = python(folder.path())?;
        let arguments = ["math.py", "--python", &python, "--nats", &server.address()];
        Some(Worker::start_in(folder, &arguments))
    };
    let (Some(first), Some(second)) = (start(), start()) else {
        return;
    };
    let mesh = mesh(&server).await;
    let remote = remote(&mesh, 2).await;
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let lost = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tasks = TaskTracker::new();
    for n in 0..16 {
        let (remote, stop, done, lost) = (
            Arc::clone(&remote),
            Arc::clone(&stop),
            Arc::clone(&done),
            Arc::clone(&lost),
        );
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                match call(&remote, "add", json!({"a": n, "b": 1})).await {
                    Ok(sum) if sum["structuredContent"]["result"] == n + 1 => {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    other => lost.lock().expect("no panic").push(format!("{other:?}")),
                }
            }
        });
    }
    let more = |count: usize| {
        let (before, done) = (done.load(Ordering::Relaxed), Arc::clone(&done));
        async move {
            let until = Instant::now() + PATIENCE;
            while done.load(Ordering::Relaxed) < before + count {
                assert!(Instant::now() < until, "calls go on");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    more(200).await;
    let mut first = first;
    first.signal("TERM");
    assert_eq!(first.end(), Some(0), "{}", first.log());
    more(200).await;
    stop.store(true, Ordering::Relaxed);
    tasks.close();
    tasks.wait().await;
    assert_eq!(*lost.lock().expect("no panic"), Vec::<String>::new());
    for text in ["served", "finishing what is under way", "stopped"] {
        assert!(first.log().contains(text), "{}", first.log());
    }
    mesh.close().await;
    let mut second = second;
    let children = descendants(second.pid());
    assert!(!children.is_empty());
    second.signal("INT");
    assert_eq!(second.end(), Some(0), "{}", second.log());
    wait_for("its processes to end", || {
        !children.iter().any(|pid| is_running(*pid))
    });
}

#[tokio::test]
async fn commands_urls_and_configurations_are_served() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let (nats, fixture) = (server.address(), testkit("fixture"));
    let command = Worker::start(&["--nats", &nats, "--name", "math", "--", &fixture, "stdio"]);
    let mesh = mesh(&server).await;
    let remote = remote(&mesh, 1).await;
    let said = call(&remote, "echo", json!({"message": "hello"})).await;
    assert!(said.is_ok(), "{said:?} {}", command.log());
    // A gateway by itself is a server at a URL.
    let server_section = support::Gateway::server("fixture", &fixture, &["stdio"]);
    let gateway = support::Gateway::start(&server_section);
    let url = format!("http://{}/mcp", gateway.address);
    let at_url = Worker::start(&["--nats", &nats, "--url", &url, "--name", "far"]);
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!("[mesh]\nurl = \"{nats}\"\n{server_section}");
    std::fs::write(folder.path().join("toolbus.toml"), config).expect("written");
    let configured = Worker::start_in(folder, &[]);
    let mut found = mesh.found();
    let all = found.wait_for(|found| {
        let names: Vec<_> = found.servers.iter().map(|s| s.name.as_str()).collect();
        ["far", "fixture", "math"]
            .iter()
            .all(|name| names.contains(name))
    });
    let all = tokio::time::timeout(PATIENCE, all).await.is_ok();
    assert!(all, "{} {}", at_url.log(), configured.log());
    mesh.close().await;
}

#[tokio::test]
async fn it_waits_for_the_mesh_and_joins_when_it_comes() {
    let Some(mut server) = Server::start_plain().await else {
        return;
    };
    let nats = server.address();
    server.kill();
    let worker = Worker::start(&[
        "--nats",
        &nats,
        "--name",
        "math",
        "--",
        &testkit("fixture"),
        "stdio",
    ]);
    wait_for("it says so", || worker.log().contains("it is tried again"));
    let server = server.restart(false).await;
    let mesh = mesh(&server).await;
    remote(&mesh, 1).await;
    mesh.close().await;
}

#[tokio::test]
async fn what_it_cannot_serve_it_says() {
    let run = |arguments: &[&str]| {
        let mut worker = Worker::start(arguments);
        let status = worker.end();
        (status, worker.log())
    };
    let nats = "nats://127.0.0.1:1";
    for (arguments, says) in [
        (vec!["--nats", nats], "there is nothing to serve"),
        (vec!["absent.toml", "--nats", nats], "absent.toml"),
        (vec!["--nats", nats, "--name", "a b", "--", "x"], "--name"),
        (
            vec!["--nats", nats, "--env", "TOOLBUS_ABSENT", "--", "x"],
            "TOOLBUS_ABSENT",
        ),
        (
            vec!["--nats", nats, "--caller-key", "abc", "--", "true"],
            "--caller-key",
        ),
        (
            vec!["--nats", nats, "--compat", "a.b", "--", "true"],
            "compat",
        ),
        (
            vec!["--nats", nats, "--prefix", "a.b", "--", "true"],
            "prefix",
        ),
        (vec!["--capacity", "0", "--", "true"], "--capacity"),
        (vec!["a.py", "--python", "/absent/python"], "/absent/python"),
        // A program that is no Python with the package.
        (
            vec!["a.py", "--python", "/bin/false"],
            "the package toolbus is missing in /bin/false",
        ),
    ] {
        let (status, log) = run(&arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {log}");
        assert!(log.contains(says), "{arguments:?}: {log}");
    }
}

/// The process at a socket is not the worker's to start again.
#[tokio::test]
async fn it_ends_with_what_serves_at_its_socket() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let Some(python) = python(folder.path()) else {
        return;
    };
    let file = format!(
        "{MATH}\nimport toolbus\nworker = toolbus.Worker('math')\nworker.tool()(add)\nworker.run()\n"
    );
    std::fs::write(folder.path().join("sums.py"), file).expect("written");
    let mut process = std::process::Command::new(&python);
    process.arg("sums.py").args(["--nats", &server.address()]);
    process
        .env("TOOLBUS_BIN", support::toolbus())
        .env("XDG_STATE_HOME", folder.path());
    process.current_dir(folder.path()).stdin(Stdio::null());
    process.stderr(std::fs::File::create(folder.path().join("log")).expect("a log"));
    let mut process = process.spawn().expect("it starts");
    let mesh = mesh(&server).await;
    let remote = remote(&mesh, 1).await;
    let sum = call(&remote, "add", json!({"a": 1, "b": 2}))
        .await
        .expect("a sum");
    assert_eq!(sum["structuredContent"]["result"], 3);
    let workers = descendants(process.id());
    assert!(!workers.is_empty());
    process.kill().expect("killed");
    process.wait().expect("ended");
    wait_for("the worker to end", || {
        !workers.iter().any(|pid| is_running(*pid))
    });
    let log = std::fs::read_to_string(folder.path().join("log")).expect("a log");
    assert!(log.contains("is gone"), "{log}");
    mesh.close().await;
}
