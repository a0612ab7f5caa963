//! Resources, prompts and completions from files, as clients of both eras see them: by themselves, beside the tools of
//! another kind, and on a worker.

#[path = "content/changes.rs"]
mod changes;
#[path = "content/places.rs"]
mod places;
mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::events::Events;
use support::listener::Listener;
use support::{Gateway, Session, wait_for};
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
