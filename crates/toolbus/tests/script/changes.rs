//! Files that change while the gateway runs.

use std::time::Duration;

use serde_json::json;

use super::calls::record;
use super::support::listener::Listener;
use super::support::{Gateway, command, text, wait_for};
use super::{packages, python, result, said, write};

const TOOLS: &str = "notifications/tools/list_changed";

/// Files are looked at each second; the machine may be busy.
const SOON: Duration = Duration::from_secs(30);

fn wait_long(what: &str, mut holds: impl FnMut() -> bool) {
    let until = std::time::Instant::now() + SOON;
    while !holds() {
        assert!(std::time::Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_changed_index_is_told_and_a_broken_one_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = folder.path().join("commands.json");
    let put = |commands: &[&str]| {
        let schema = json!({"type": "object"});
        let records: Vec<_> = commands
            .iter()
            .map(|command| record(command, &schema))
            .collect();
        write(&index, json!(records).to_string());
    };
    put(&["one"]);
    let config = format!(
        "[servers.s.script]\nindex = {}\nrun = [\"sh\", \"-c\", \"printf '\\\"%s\\\"' {{command}}\"]\n",
        json!(text(&index))
    );
    let gateway = Gateway::start(&config);
    assert_eq!(gateway.tools("/mcp"), ["demo.one"]);
    let listener = Listener::open(&gateway, json!({"toolsListChanged": true}));
    put(&["one", "two"]);
    listener.expect(TOOLS, None, SOON);
    assert_eq!(gateway.tools("/mcp"), ["demo.one", "demo.two"]);
    assert_eq!(said(&result(&gateway, "demo.two", json!({}))), "two");

    let mut broken = record("three", &json!({"type": "object"}));
    broken["keywords"] = json!(3);
    write(&index, json!([broken]).to_string());
    let trouble = || {
        let ready = gateway.get("/ready").json();
        ready["troubles"]["s"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    wait_long("it is said", || !trouble().is_empty());
    let expected =
        "record 1 (\"demo.three\"), field \"keywords\": it is a number, but must be an array";
    assert!(trouble().contains(expected), "{}", trouble());
    assert!(
        trouble().contains("the tools of before stay") && trouble().contains("commands.json"),
        "{}",
        trouble()
    );
    assert!(
        gateway.log().contains("the tools of before stay"),
        "{}",
        gateway.log()
    );
    assert_eq!(gateway.state("s"), "up");
    assert_eq!(gateway.tools("/mcp"), ["demo.one", "demo.two"]);
    assert_eq!(said(&result(&gateway, "demo.one", json!({}))), "one");
    let file = gateway.folder.path().join("toolbus.toml");
    let doctor = command(gateway.folder.path())
        .arg("doctor")
        .arg(file)
        .output()
        .expect("a doctor");
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        said.contains("FAIL  s: ") && said.contains(expected),
        "{said}"
    );

    put(&["three"]);
    listener.expect(TOOLS, None, SOON);
    assert_eq!(gateway.tools("/mcp"), ["demo.three"]);
    wait_for("no trouble is left", || trouble().is_empty());
}

#[test]
fn an_index_that_is_broken_at_first_is_read_once_it_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = folder.path().join("commands.json");
    write(&index, "[{}]");
    let gateway = Gateway::start(&format!(
        "[servers.s.script]\nindex = {}\nrun = [\"echo\", \"1\"]\n",
        json!(text(&index))
    ));
    assert_eq!(gateway.state("s"), "down");
    write(&index, json!([record("one", &json!({}))]).to_string());
    wait_long("the tools are listed", || {
        gateway.tools("/mcp") == ["demo.one"]
    });
    assert_eq!(gateway.state("s"), "up");
}

#[test]
fn a_changed_file_of_python_is_told_and_a_broken_one_is_not_used() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tools.py");
    let helper = folder.path().join("helper.py");
    write(&helper, "NAME = 'first'\n");
    write(
        &file,
        "import helper\n\ndef one() -> str:\n    return helper.NAME\n",
    );
    let gateway = Gateway::start(&format!(
        "[servers.s.script]\npython = {}\ninterpreter = {}\n{}\n",
        json!(text(&file)),
        json!(python),
        packages()
    ));
    let listener = Listener::open(&gateway, json!({"toolsListChanged": true}));
    write(&helper, "NAME = 'the second'\n");
    assert_eq!(said(&result(&gateway, "one", json!({}))), "the second");
    write(
        &file,
        "import helper\n\ndef two(n: int) -> int:\n    return n\n",
    );
    listener.expect(TOOLS, None, SOON);
    assert_eq!(gateway.tools("/mcp"), ["two"]);
    write(&file, "def three(:\n");
    wait_long("it is said", || {
        let ready = gateway.get("/ready").json();
        ready["troubles"]["s"]
            .as_str()
            .is_some_and(|why| why.contains("SyntaxError"))
    });
    assert_eq!(gateway.tools("/mcp"), ["two"]);
}
