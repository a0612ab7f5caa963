//! Resources, prompts and completions from files, as clients of both eras see them: by themselves, beside the tools of
//! another kind, and on a worker.

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use support::events::Events;
use support::listener::Listener;
use support::mesh::{Nats, Worker};
use support::{Gateway, Session, command, text, toolbus, wait_for, workspace};
use tempfile::TempDir;

const UPDATED: &str = "notifications/resources/updated";
const RESOURCES: &str = "notifications/resources/list_changed";
const PROMPTS: &str = "notifications/prompts/list_changed";

/// How long a change may take to be told. Folders are looked at each second; the machine may be busy.
const SOON: Duration = Duration::from_secs(30);

const REVIEW: &str = "---
description: Reviews a file
arguments:
  - name: file
    description: Which file
    required: true
  - name: tone
    values: [kind, blunt]
---
Review {{file}}, be {{tone}}.
";

/// A folder with documents, prompts, skills and a memory.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    write(at, "docs/start.md", "# Start\n");
    write(at, "docs/guide/deep dive.md", "deep");
    write(at, "docs/logo.png", [0x89, b'P', b'N', b'G']);
    write(at, "docs/large.txt", "x".repeat(2_001));
    write(at, "prompts/review.md", REVIEW);
    write(
        at,
        "skills/git/SKILL.md",
        "---\nname: git\ndescription: Commits\n---\n# Git\n",
    );
    write(at, "MEMORY.md", "remember me");
    write(at, "secret.txt", "secret");
    folder
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    // Aside, and then in place: nobody reads half of it.
    let aside = folder.join("aside");
    std::fs::write(&aside, content).expect("written");
    std::fs::rename(aside, path).expect("in place");
}

/// All kinds of content, for a server of this name.
fn section(name: &str, folder: &Path) -> String {
    let at = |name: &str| json!(folder.join(name)).to_string();
    format!(
        "[servers.{name}.content]\nprompts = {}\nskills = {}\nomni = true\nmemory = {}\n\
         [[servers.{name}.content.folders]]\npath = {}\nuri = \"docs://\"\nmax_bytes = 2000\n",
        at("prompts"),
        at("skills"),
        at("MEMORY.md"),
        at("docs"),
    )
}

fn modern(gateway: &Gateway, method: &str, params: Value) -> Value {
    gateway.modern("/mcp", method, params).json()
}

fn names(answer: &Value, list: &str, key: &str) -> Vec<String> {
    let list = answer["result"][list]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let name = |entry: &Value| entry[key].as_str().unwrap_or_default().to_owned();
    list.iter().map(name).collect()
}

/// One way to ask, of either era.
type Ask<'a> = &'a dyn Fn(&str, Value) -> Value;

fn in_both_eras(gateway: &Gateway, check: impl Fn(&str, Ask<'_>)) {
    check("modern", &|method, params| modern(gateway, method, params));
    let session = Session::open(gateway);
    check("legacy", &|method, params| {
        session.ask(method, params).json()
    });
}

#[test]
fn everything_is_listed_and_read_in_both_eras() {
    let folder = folder();
    let gateway = Gateway::start(&section("files", folder.path()));
    in_both_eras(&gateway, |era, ask| {
        let listed = ask("resources/list", json!({}));
        let wanted = [
            "omni://system/context",
            "omni://system/memory",
            "omni://system/stats",
            "omni://skill/git/SKILL.md",
            "docs://guide/deep%20dive.md",
            "docs://logo.png",
            "docs://start.md",
        ];
        assert_eq!(names(&listed, "resources", "uri"), wanted, "{era}");
        let templates = ask("resources/templates/list", json!({}));
        let wanted = ["omni://skill/{skill}/{name}", "docs://{+path}"];
        assert_eq!(
            names(&templates, "resourceTemplates", "uriTemplate"),
            wanted,
            "{era}"
        );
        let read = |uri: &str| {
            ask("resources/read", json!({ "uri": uri }))["result"]["contents"][0].clone()
        };
        assert_eq!(
            read("docs://start.md"),
            json!({"uri": "docs://start.md", "mimeType": "text/markdown", "text": "# Start\n"})
        );
        assert_eq!(read("docs://guide/deep%20dive.md")["text"], "deep");
        assert_eq!(
            (
                &read("docs://logo.png")["mimeType"],
                &read("docs://logo.png")["blob"]
            ),
            (&json!("image/png"), &json!("iVBORw=="))
        );
        assert_eq!(read("omni://system/memory")["text"], "remember me");
        let stats: Value =
            serde_json::from_str(read("omni://system/stats")["text"].as_str().expect("text"))
                .expect("JSON");
        assert_eq!(
            (&stats["ready"], &stats["tool_count"]),
            (&json!(true), &json!(0)),
            "{era}"
        );
        for (uri, code) in [
            ("docs://../secret.txt", "unknown"),
            ("docs://%2e%2e/secret.txt", "unknown"),
            ("omni://system/nothing", "unknown"),
            ("omni://skill/none/SKILL.md", "unknown"),
            ("docs://large.txt", "large"),
        ] {
            let error = &ask("resources/read", json!({ "uri": uri }))["error"];
            let wanted = match (code, era) {
                ("large", _) => -31005,
                (_, "modern") => -32602,
                _ => -32002,
            };
            assert_eq!(error["code"], wanted, "{era} {uri}: {error}");
            let names_it = error["message"]
                .as_str()
                .is_some_and(|text| text.contains(uri));
            assert!(names_it || code == "large", "{era} {uri}: {error}");
        }
    });
}

#[test]
fn prompts_and_completions_work_in_both_eras() {
    let folder = folder();
    let gateway = Gateway::start(&section("files", folder.path()));
    in_both_eras(&gateway, |era, ask| {
        let listed = ask("prompts/list", json!({}));
        assert_eq!(names(&listed, "prompts", "name"), ["review"], "{era}");
        let arguments = json!([
            {"name": "file", "description": "Which file", "required": true},
            {"name": "tone", "required": false},
        ]);
        assert_eq!(listed["result"]["prompts"][0]["arguments"], arguments);
        let get = |arguments: Value| {
            ask(
                "prompts/get",
                json!({"name": "review", "arguments": arguments}),
            )
        };
        let got = get(json!({"file": "{{tone}}", "tone": "blunt"}));
        let message = json!({"role": "user", "content": {"type": "text", "text": "Review {{tone}}, be blunt."}});
        assert_eq!(got["result"]["messages"], json!([message]), "{era}: {got}");
        let missing = get(json!({"tone": "kind"}))["error"].clone();
        assert_eq!(missing["code"], -32602);
        assert!(
            missing["message"]
                .as_str()
                .is_some_and(|text| text.contains("\"file\" is missing")),
            "{missing}"
        );
        let unknown = ask("prompts/get", json!({"name": "no-such"}))["error"].clone();
        assert_eq!(unknown["code"], -32602);
        assert!(
            unknown["message"]
                .as_str()
                .is_some_and(|text| text.contains("no-such")),
            "{unknown}"
        );
        let complete = |reference: Value, name: &str, value: &str| {
            let params = json!({"ref": reference, "argument": {"name": name, "value": value}});
            ask("completion/complete", params)["result"]["completion"].clone()
        };
        let review = json!({"type": "ref/prompt", "name": "review"});
        assert_eq!(
            complete(review, "tone", "b"),
            json!({"values": ["blunt"], "total": 1, "hasMore": false}),
            "{era}"
        );
        let docs = json!({"type": "ref/resource", "uri": "docs://{+path}"});
        assert_eq!(
            complete(docs, "path", "g")["values"],
            json!(["guide/deep%20dive.md"]),
            "{era}"
        );
        let skills = json!({"type": "ref/resource", "uri": "omni://skill/{skill}/{name}"});
        assert_eq!(
            complete(skills, "skill", "")["values"],
            json!(["git"]),
            "{era}"
        );
    });
}

#[test]
fn changes_reach_a_modern_listener() {
    let folder = folder();
    let gateway = Gateway::start(&section("files", folder.path()));
    let wanted = json!({
        "promptsListChanged": true, "resourcesListChanged": true,
        "resourceSubscriptions": ["docs://start.md", "omni://system/memory"],
    });
    let listener = Listener::open(&gateway, wanted.clone());
    assert_eq!(listener.honoured, wanted);
    write(folder.path(), "docs/logo.png", "changed, and nobody asked");
    write(folder.path(), "docs/start.md", "# Changed\n");
    listener.expect(UPDATED, Some("docs://start.md"), SOON);
    let read = modern(
        &gateway,
        "resources/read",
        json!({"uri": "docs://start.md"}),
    );
    assert_eq!(read["result"]["contents"][0]["text"], "# Changed\n");
    write(folder.path(), "MEMORY.md", "remember more");
    listener.expect(UPDATED, Some("omni://system/memory"), SOON);
    write(folder.path(), "docs/new.md", "new");
    listener.expect(RESOURCES, None, SOON);
    let listed = modern(&gateway, "resources/list", json!({}));
    assert!(
        names(&listed, "resources", "uri").contains(&"docs://new.md".to_owned()),
        "{listed}"
    );
    write(folder.path(), "prompts/second.md", "---\n---\nSecond");
    listener.expect(PROMPTS, None, SOON);
    let listed = modern(&gateway, "prompts/list", json!({}));
    assert_eq!(names(&listed, "prompts", "name"), ["review", "second"]);
    let not_ours =
        json!({"resourceSubscriptions": ["docs://../secret.txt", "omni://system/stats"]});
    assert_eq!(Listener::open(&gateway, not_ours).honoured, json!({}));
}

#[test]
fn changes_reach_a_legacy_session() {
    let folder = folder();
    let gateway = Gateway::start(&section("files", folder.path()));
    let session = Session::open(&gateway);
    let mut stream = Events::get(&gateway, "/mcp", &session.headers());
    let subscribed = session.ask("resources/subscribe", json!({"uri": "docs://start.md"}));
    assert_eq!(
        subscribed.json()["result"],
        json!({}),
        "{}",
        subscribed.text()
    );
    let mut expect = |method: &str| loop {
        let told = stream
            .message()
            .unwrap_or_else(|| panic!("the stream ended without {method}"));
        if told["method"] == method {
            return told;
        }
    };
    write(folder.path(), "docs/start.md", "# Changed\n");
    assert_eq!(expect(UPDATED)["params"]["uri"], "docs://start.md");
    write(folder.path(), "docs/new.md", "new");
    expect(RESOURCES);
    write(folder.path(), "prompts/second.md", "---\n---\nSecond");
    expect(PROMPTS);
}

#[test]
fn a_broken_prompt_keeps_the_version_before_and_is_told_in_the_log() {
    let folder = folder();
    let gateway = Gateway::start(&section("files", folder.path()));
    let filled = || {
        let got = modern(
            &gateway,
            "prompts/get",
            json!({"name": "review", "arguments": {"file": "x"}}),
        );
        got["result"]["messages"][0]["content"]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(filled(), "Review x, be .");
    write(
        folder.path(),
        "prompts/review.md",
        REVIEW.replace("{{tone}}", "{{tome}}"),
    );
    let broken = "review.md: line 10: the placeholder {{tome}} has no argument";
    wait_for("the log tells what is wrong", || {
        gateway.log().contains(broken)
    });
    assert!(gateway.log().contains("the version before it stays in use"));
    assert_eq!(filled(), "Review x, be .");
    write(
        folder.path(),
        "prompts/review.md",
        REVIEW.replace("Review {{file}}", "Look at {{file}}"),
    );
    wait_for("the mended one is used", || filled() == "Look at x, be .");
    assert_eq!(gateway.log().matches(broken).count(), 1, "said once");
}

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
    assert_eq!(
        called["result"]["content"][0]["text"], "2026-08-04",
        "{called}"
    );
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
