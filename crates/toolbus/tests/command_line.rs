//! The command line as a person and a pipe use it.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use support::{Gateway, command, text};

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("toolbus.toml"), config).expect("written");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        let mut child = command(self.path())
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        // A command that reads nothing may have ended already.
        let _ = child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(input.as_bytes());
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().expect("an end");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (status.code().unwrap_or(-1), text(stdout), text(stderr))
    }
}

fn fixture() -> Folder {
    Folder::with(&Gateway::server("fx", "fixture", &["stdio"]))
}

#[test]
fn call_prints_the_result_alone_and_tells_failures_by_its_status() {
    let folder = fixture();
    assert_eq!(
        folder.run(&["call", "fx.echo", "message=hello"]),
        (0, "hello\n".to_owned(), String::new())
    );
    let (code, out, err) = folder.run(&["call", "fx.test_tool_with_progress"]);
    assert_eq!((code, out.lines().count()), (0, 1));
    assert!(
        err.contains("50") && err.contains("100"),
        "progress goes to stderr: {err}"
    );
    let (code, out, _) = folder.run(&["call", "fx.test_error_handling"]);
    assert_eq!(
        (code, out.trim()),
        (1, "This tool intentionally returns an error for testing")
    );
    let (code, out, err) = folder.run(&["call", "fx.nothing"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.contains("fx has no tool \"nothing\"; it has: ") && err.contains("echo"),
        "{err}"
    );
    let (code, _, err) = folder.run(&["call", "fy.echo"]);
    assert_eq!(
        (code, err.contains("has no server \"fy\"; it has: fx")),
        (2, true),
        "{err}"
    );
    let (code, _, err) = folder.run(&["call", "echo"]);
    assert_eq!(
        (code, err.contains("is not SERVER.TOOL")),
        (2, true),
        "{err}"
    );
}

#[test]
fn arguments_go_by_the_schema_files_and_stdin() {
    let folder = fixture();
    std::fs::write(folder.path().join("note.txt"), "from a file").expect("written");
    assert_eq!(
        folder.run(&["call", "fx.echo", "message=12"]).1,
        "12\n",
        "text stays text where the schema says so"
    );
    assert_eq!(
        folder.run(&["call", "fx.echo", "message=@note.txt"]).1,
        "from a file\n"
    );
    assert_eq!(
        folder
            .run_with(&["call", "fx.echo", "message=@-"], "from stdin")
            .1,
        "from stdin\n"
    );
    let odd = r#"{"message": "x", "n": 1.0}"#;
    assert_eq!(
        folder.run_with(&["call", "fx.echo_raw", "-"], odd).1.trim(),
        odd,
        "byte for byte"
    );
    let (_, out, _) = folder.run(&["call", "fx.echo_raw", "a=1", "b=[true]", "c=text"]);
    assert_eq!(
        serde_json::from_str::<Value>(&out).expect("JSON"),
        json!({"a": 1, "b": [true], "c": "text"})
    );
    let (_, out, _) = folder.run(&["call", "fx.echo", "message=m", "--json"]);
    let result: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(result["structuredContent"], json!({"echo": "m"}));
    let (code, _, err) = folder.run_with(&["call", "fx.echo", "-"], "[1]");
    assert_eq!(
        (code, err.contains("stdin is not an arguments object")),
        (2, true),
        "{err}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = fixture();
    let script = format!(
        "{} tools {} | head -n 1",
        support::toolbus(),
        text(folder.path())
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("XDG_STATE_HOME", folder.path())
        .output()
        .expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.stdout.starts_with(b"fx."));
}

#[test]
fn commands_ask_a_running_gateway() {
    let gateway = Gateway::start(&Gateway::server("fx", "fixture", &["stdio"]));
    let folder = Folder::with("");
    let url = format!("http://{}", gateway.address);
    assert_eq!(
        folder
            .run(&["call", "--url", &url, "fx.echo", "message=hi"])
            .1,
        "hi\n"
    );
    let (code, out, _) = folder.run(&["tools", "--url", &url]);
    assert_eq!((code, out.contains("echo")), (0, true));
    let (code, out, _) = folder.run(&["doctor", "--url", &url]);
    assert_eq!(
        (code, out.contains("ok    gateway: toolbus ")),
        (0, true),
        "{out}"
    );
    let (code, _, err) = folder.run(&["call", "--url", "http://127.0.0.1:9", "fx.echo"]);
    assert_eq!(
        (code, err.contains("cannot be reached")),
        (3, true),
        "{err}"
    );
}

#[test]
fn doctor_says_what_is_wrong_with_which() {
    let config = [
        Gateway::server("good", "fixture", &["stdio"]),
        Gateway::server("dies", "faulty", &["--die-at-start", "7"]),
        "[servers.missing.stdio]\ncommand = [\"no-such-program\", \"--x\"]\n".to_owned(),
        "[servers.away.http]\nurl = \"http://127.0.0.1:9/mcp\"\n".to_owned(),
    ]
    .concat();
    let (code, out, _) = Folder::with(&config).run(&["doctor"]);
    assert_eq!(code, 1);
    for part in [
        "ok    good: toolbus-fixture",
        "FAIL  dies: the server process ended",
        "ended    exit status 7",
        "stderr   ",
        "FAIL  missing: the server could not be started: No such file or directory",
        "asked    no-such-program --x",
        "remedy   check the command, its PATH and its working folder",
        "FAIL  away: the server cannot be reached",
    ] {
        assert!(out.contains(part), "{part:?} in\n{out}");
    }
}

#[test]
fn check_finds_what_can_be_known_without_starting() {
    let config = "[servers.a.stdio]\ncommand = [\"no-such-program\"]\nenv = { KEY = \"env:TOOLBUS_TEST_UNSET\" }\n\
                  [servers.b.stdio]\ncommand = [\"sh\"]\ncwd = \"/no/such/folder\"\n[callers.ci]\ntoken = \"file:/no/such/file\"\n";
    let (code, out, err) = Folder::with(config).run(&["check"]);
    assert_eq!((code, out.as_str()), (2, ""));
    for part in [
        "[servers.a]: the environment variable TOOLBUS_TEST_UNSET is not set",
        "no program \"no-such-program\"",
        "the folder /no/such/folder does not exist",
        "[callers.ci] token: the secret file /no/such/file cannot be read",
    ] {
        assert!(err.contains(part), "{part:?} in\n{err}");
    }
    let (code, out, _) = Folder::with("[servers.b.stdio]\ncommand = [\"sh\"]\n").run(&["check"]);
    assert_eq!(
        (code, out.as_str()),
        (
            0,
            "toolbus.toml: good (1 servers, 0 callers, listening on 127.0.0.1:7800)\n"
        )
    );
}

#[test]
fn a_taken_port_is_named_with_its_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = taken.local_addr().expect("an address");
    let (code, _, err) = Folder::with(&format!("[gateway]\nlisten = \"{address}\"\n")).run(&["up"]);
    assert_eq!(code, 2);
    assert!(
        err.contains(&format!("cannot listen on {address}"))
            && err.contains("port 0 takes a free one"),
        "{err}"
    );
}

#[test]
fn a_folder_is_searched_for_known_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = json!({"command": support::testkit("fixture"), "args": ["stdio"]});
    std::fs::write(
        folder.path().join(".mcp.json"),
        json!({"mcpServers": {"fx": server}}).to_string(),
    )
    .expect("written");
    let elsewhere = Folder::with("");
    let (code, out, err) = elsewhere.run(&["call", &text(folder.path()), "fx.echo", "message=m"]);
    assert_eq!((code, out.as_str()), (0, "m\n"), "{err}");
    let empty = tempfile::tempdir().expect("a folder");
    let (code, _, err) = elsewhere.run(&["check", &text(empty.path())]);
    assert_eq!(
        (
            code,
            err.contains("no configuration in this folder; looked for toolbus.toml")
        ),
        (2, true),
        "{err}"
    );
}
