//! Files beside the tools of another kind, on a worker, in the example, and in a configuration that is wrong.

use std::io::Write as _;
use std::process::Output;

use super::support::mesh::{Nats, Worker};
use super::support::{command, text, toolbus, workspace};
use super::*;

#[test]
fn files_stand_beside_the_tools_of_another_kind() {
    let folder = folder();
    for era in ["modern", "legacy"] {
        let server = Gateway::server("fx", "fixture", &["stdio", "--era", era]);
        let gateway = Gateway::start(&format!("{server}{}", section("fx", folder.path())));
        let called = gateway.call("test_simple_text", json!({})).json();
        assert!(called["result"]["content"].is_array(), "{era}: {called}");
        let resources = modern(&gateway, "resources/list", json!({}));
        let resources = names(&resources, "resources", "uri");
        let place = |uri: &str| {
            resources
                .iter()
                .position(|listed| listed == uri)
                .unwrap_or_else(|| panic!("{era}: {uri}: {resources:?}"))
        };
        assert!(
            place("docs://start.md") < place("test://static-text"),
            "ours first"
        );
        let prompts = names(
            &modern(&gateway, "prompts/list", json!({})),
            "prompts",
            "name",
        );
        assert!(
            prompts[0] == "review" && prompts.len() > 1,
            "{era}: {prompts:?}"
        );
        for uri in ["docs://start.md", "test://static-text"] {
            let read = modern(&gateway, "resources/read", json!({ "uri": uri }));
            assert!(
                read["result"]["contents"][0]["text"].is_string(),
                "{era}: {read}"
            );
        }
        let stats = modern(
            &gateway,
            "resources/read",
            json!({"uri": "omni://system/stats"}),
        );
        let stats: Value = serde_json::from_str(
            stats["result"]["contents"][0]["text"]
                .as_str()
                .expect("text"),
        )
        .expect("JSON");
        assert_eq!(stats["tool_count"], gateway.tools("/mcp").len(), "{era}");
        // One listener hears of both.
        let wanted = json!({"toolsListChanged": true, "resourceSubscriptions": ["docs://start.md", "test://watched-resource"]});
        let listener = Listener::open(&gateway, wanted);
        let mut honoured = listener.honoured["resourceSubscriptions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        honoured.sort_by_key(Value::to_string);
        assert_eq!(
            honoured,
            ["docs://start.md", "test://watched-resource"],
            "{era}"
        );
        gateway.call(
            "test_touch_resource",
            json!({"uri": "test://watched-resource"}),
        );
        listener.expect(UPDATED, Some("test://watched-resource"), SOON);
        write(folder.path(), "docs/start.md", format!("# For {era}\n"));
        listener.expect(UPDATED, Some("docs://start.md"), SOON);
        gateway.call("test_trigger_tool_change", json!({}));
        listener.expect("notifications/tools/list_changed", None, SOON);
    }
}

#[test]
fn a_place_that_only_runs_tools_gets_files_beside_them() {
    let folder = folder();
    let script = r#"
[servers.sh.script]
run = ["/bin/echo", "[1]"]
[servers.sh.script.tools.hello]
description = "Says one"
"#;
    let gateway = Gateway::start(&format!("{script}{}", section("sh", folder.path())));
    let called = gateway.call("hello", json!({})).json();
    assert!(called["result"]["content"].is_array(), "{called}");
    let read = modern(
        &gateway,
        "resources/read",
        json!({"uri": "docs://start.md"}),
    );
    assert_eq!(read["result"]["contents"][0]["text"], "# Start\n", "{read}");
    // What neither has is unknown by its name, as anywhere.
    for (method, key, name) in [
        ("resources/read", "uri", "other://none"),
        ("prompts/get", "name", "none-such"),
    ] {
        let mut params = json!({});
        params[key] = name.into();
        let error = modern(&gateway, method, params)["error"].clone();
        assert_eq!(error["code"], -32602, "{error}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(name), "{error}");
    }
}

#[test]
fn a_changed_configuration_adds_files_and_takes_them_away() {
    let folder = folder();
    let server = Gateway::server("fx", "fixture", &["stdio"]);
    let gateway = Gateway::start(&server);
    let listed = || {
        names(
            &modern(&gateway, "resources/list", json!({})),
            "resources",
            "uri",
        )
    };
    let has_files = || listed().iter().any(|uri| uri.starts_with("docs://"));
    assert!(!has_files());
    gateway.configure(&format!("{server}{}", section("fx", folder.path())));
    wait_for("the files are there", has_files);
    assert!(
        gateway
            .tools("/mcp")
            .contains(&"test_simple_text".to_owned())
    );
    gateway.configure(&server);
    wait_for("the files are gone", || !has_files());
    let prompts = names(
        &modern(&gateway, "prompts/list", json!({})),
        "prompts",
        "name",
    );
    assert!(!prompts.contains(&"review".to_owned()), "{prompts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_brings_files_to_the_mesh() {
    let Some(nats) = Nats::start() else {
        return;
    };
    let folder = folder();
    let file = folder.path().join("worker.toml");
    std::fs::write(&file, section("far", folder.path())).expect("written");
    let mut command = std::process::Command::new(toolbus());
    command.args(["worker", "--nats", &nats.url(), &text(&file)]);
    let _worker = Worker::start(command);
    let gateway = Gateway::start(&format!("[mesh]\nurl = \"{}\"\n", nats.url()));
    let listed = || {
        names(
            &modern(&gateway, "resources/list", json!({})),
            "resources",
            "uri",
        )
    };
    wait_for("the worker's files", || {
        listed().contains(&"docs://start.md".to_owned())
    });
    in_both_eras(&gateway, |era, ask| {
        let read = ask(
            "resources/read",
            json!({"uri": "docs://guide/deep%20dive.md"}),
        );
        assert_eq!(
            read["result"]["contents"][0]["text"], "deep",
            "{era}: {read}"
        );
        let read = ask(
            "resources/read",
            json!({"uri": "omni://skill/git/SKILL.md"}),
        );
        assert!(
            read["result"]["contents"][0]["text"].is_string(),
            "{era}: {read}"
        );
        let got = ask(
            "prompts/get",
            json!({"name": "review", "arguments": {"file": "x"}}),
        );
        assert_eq!(
            got["result"]["messages"][0]["content"]["text"], "Review x, be .",
            "{era}: {got}"
        );
        let docs = json!({"type": "ref/resource", "uri": "docs://{+path}"});
        let params = json!({"ref": docs, "argument": {"name": "path", "value": "s"}});
        let completed = ask("completion/complete", params);
        assert_eq!(
            completed["result"]["completion"]["values"],
            json!(["start.md"]),
            "{era}: {completed}"
        );
        let error = &ask("resources/read", json!({"uri": "docs://../secret.txt"}))["error"];
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.contains("docs://../secret.txt")),
            "{era}: {error}"
        );
    });
    let listener = Listener::open(
        &gateway,
        json!({"resourceSubscriptions": ["docs://start.md"]}),
    );
    assert_eq!(
        listener.honoured,
        json!({"resourceSubscriptions": ["docs://start.md"]})
    );
    write(folder.path(), "docs/start.md", "# Changed\n");
    listener.expect(UPDATED, Some("docs://start.md"), SOON);
    write(folder.path(), "docs/new.md", "new");
    wait_for("the new file is listed", || {
        listed().contains(&"docs://new.md".to_owned())
    });
}

#[test]
fn the_example_serves_what_it_says() {
    let python = workspace(".venv/bin/python");
    if !python.exists() {
        let _ = writeln!(std::io::stderr(), "skipped: no Python environment");
        return;
    }
    let config =
        std::fs::read_to_string(workspace("examples/content/toolbus.toml")).expect("the example");
    let top = text(&workspace(""));
    let config = config
        .replace("\".venv/", &format!("\"{top}/.venv/"))
        .replace("\"examples/", &format!("\"{top}/examples/"));
    let gateway = Gateway::start(&config);
    let called = gateway
        .call("next_release", json!({"after": "2026-07-28"}))
        .json();
    assert!(called.to_string().contains("2026-08-04"), "{called}");
    let listed = modern(&gateway, "resources/list", json!({}));
    let listed = names(&listed, "resources", "uri");
    for uri in [
        "handbook://guide/releases.md",
        "handbook://start.md",
        "omni://skill/release/SKILL.md",
        "omni://system/memory",
    ] {
        assert!(listed.contains(&uri.to_owned()), "{uri}: {listed:?}");
    }
    let arguments = json!({"version": "1.5", "language": "German"});
    let got = modern(
        &gateway,
        "prompts/get",
        json!({"name": "announce", "arguments": arguments}),
    );
    let said = got["result"]["messages"][0]["content"]["text"]
        .as_str()
        .unwrap_or_default();
    assert!(
        said.starts_with("Write the announcement of version 1.5 for users, in German."),
        "{got}"
    );
}

fn check(folder: &Path, config: &str) -> Output {
    let file = folder.join("toolbus.toml");
    std::fs::write(&file, config).expect("written");
    let mut command = command(folder);
    command.current_dir(folder).arg("check").arg(&file);
    command.output().expect("it runs")
}

#[test]
fn what_is_wrong_in_the_configuration_is_told_with_its_key() {
    let folder = folder();
    for (config, why) in [
        (
            "[servers.a.content]\n",
            "[servers.a.content]: it is empty: set one of",
        ),
        (
            "[servers.a.content]\nprompts = \"prompts\"\nmemory = \"x\"\n",
            "[servers.a.content]: `memory` is served at",
        ),
        (
            "[servers.a.content]\nprompts = \"nowhere\"\n",
            "[servers.a.content]: prompts: nowhere: it does not exist",
        ),
        (
            "[servers.a.content]\nskills = \"secret.txt\"\n",
            "skills: secret.txt: it is not a folder",
        ),
        (
            "[[servers.a.content.folders]]\npath = \"docs\"\nuri = \"docs\"\n",
            "folders: uri = \"docs\" cannot begin a URI",
        ),
        (
            "[[servers.a.content.folders]]\npath = \"docs\"\nmax_files = 0\n",
            "folders: docs: max_files = 0: use 1 to 100000",
        ),
        (
            "[[servers.a.content.folders]]\npath = \"docs\"\ninclude = [\"../*\"]\n",
            "folders: docs: include: the pattern \"../*\"",
        ),
        (
            "[[servers.a.content.folders]]\npath = \"docs\"\n[[servers.a.content.folders]]\npath = \"docs\"\n",
            "folders: uri = \"toolbus://a/docs/\" and \"toolbus://a/docs/\" begin alike",
        ),
        (
            "[[servers.a.content.folders]]\npath = \"docs\"\nurl = \"x\"\n",
            "did you mean `uri`?",
        ),
    ] {
        let checked = check(folder.path(), config);
        let told = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(
            !checked.status.success() && told.contains(why),
            "{config}: {told}"
        );
    }
    let good = check(
        folder.path(),
        "[[servers.a.content.folders]]\npath = \"docs\"\n",
    );
    assert!(
        good.status.success(),
        "{}",
        String::from_utf8_lossy(&good.stderr)
    );
}
