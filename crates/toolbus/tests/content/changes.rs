//! Changes of files and prompts, as listeners and sessions are told of them.

use super::*;

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
