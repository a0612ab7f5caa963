//! What people write, and what they are told.

use super::*;

fn problem(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("toolbus.toml");
    std::fs::write(&path, text).expect("written");
    let problem = load(&Source::File(path.clone()))
        .expect_err("a problem")
        .to_string();
    problem.replace(&path.display().to_string(), "toolbus.toml")
}

fn parse(text: &str) -> Config {
    toml::from_str(text).expect("a configuration")
}

#[test]
fn a_typo_is_shown_in_its_place() {
    assert_eq!(
        problem("[gateway]\nlisten = \"127.0.0.1:0\"\nprefix_nams = true\n"),
        r#"toolbus.toml:3:1: unknown field `prefix_nams`, expected one of `listen`, `hosts`, `origins`, `state_key`, `prefix_names`, `max_body_bytes`, `max_connections`
  prefix_nams = true
  ^^^^^^^^^^^
  did you mean `prefix_names`?"#
    );
    assert_eq!(
        problem("[servers.a.stdio]\ncommand = [\"x\"]\n[servers.a]\nidle_timeout = \"soon\"\n"),
        r#"toolbus.toml:4:16: "soon" is not a duration (expected number at 0); write it like "90s" or "5m", or "off" for no limit
  idle_timeout = "soon"
                 ^^^^^^"#
    );
}

#[test]
fn a_listener_open_to_others_needs_callers() {
    assert_eq!(
        problem("[gateway]\nlisten = \"0.0.0.0:7800\"\n"),
        r#"toolbus.toml: [gateway] listen = "0.0.0.0:7800" is open to other machines, but nobody has to authenticate: add [callers.NAME] with a token, or listen on 127.0.0.1"#
    );
    let text = "[gateway]\nlisten = \"0.0.0.0:7800\"\n[callers.ci]\ntoken = \"env:T\"\n";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("toolbus.toml");
    std::fs::write(&path, text).expect("written");
    assert!(load(&Source::File(path)).is_ok());
}

#[test]
fn a_server_has_exactly_one_kind() {
    assert_eq!(
        problem("[servers.a]\n"),
        "toolbus.toml: [servers.a] has no kind: it needs a section that says where its tools run, such as `stdio` or `http`"
    );
    assert_eq!(
        problem("[servers.a.stdio]\ncommand = []\n"),
        r#"toolbus.toml: [servers.a.stdio]: `command` is empty; give a program and its arguments"#
    );
    assert_eq!(
        problem("[servers.\"a.b\".stdio]\ncommand = [\"x\"]\n"),
        r#"toolbus.toml: server name "a.b": use 1 to 64 letters, digits, '_' or '-'"#
    );
    assert_eq!(
        problem("[servers.a.http]\nurl = \"ftp://x\"\n"),
        r#"toolbus.toml:2:7: "ftp://x" is not a URL of a server: it must begin with http:// or https://
  url = "ftp://x"
        ^^^^^^^^^"#
    );
}

#[test]
fn limits_are_inherited_clamped_and_turned_off() {
    let config = parse(
        "[servers.a]\ntotal_timeout = \"10s\"\n[servers.a.tools.slow]\ntotal_timeout = \"0\"\nidle_timeout = \"1h\"\n",
    );
    let server = &config.servers["a"];
    let seconds = |n| Some(std::time::Duration::from_secs(n));
    let limits = server.deadlines(None);
    assert_eq!(
        (limits.idle, limits.total),
        (seconds(10), seconds(10)),
        "idle is clamped to total"
    );
    let limits = server.deadlines(server.tools.get("slow"));
    assert_eq!((limits.idle, limits.total), (seconds(3600), None));
}

#[test]
fn the_order_of_the_servers_is_kept() {
    let config = parse("[servers.z.stdio]\ncommand=[\"x\"]\n[servers.a.stdio]\ncommand=[\"x\"]\n");
    assert_eq!(config.servers.keys().collect::<Vec<_>>(), ["z", "a"]);
}

#[test]
fn client_files_are_read_as_they_are() {
    let text = r#"{"mcpServers": {
        "my server.v1": {"command": "npx", "args": ["-y", "x"], "env": {"KEY": "${TOOLBUS_TEST_UNSET:-d}"}, "alwaysAllow": ["a"]},
        "remote": {"type": "http", "url": "https://example.test/mcp", "headers": {"X-Key": "k"}},
        "off": {"command": "no", "disabled": true}
    }, "theme": "dark"}"#;
    let config = clients::parse(text).expect("a configuration");
    assert_eq!(
        config.servers.keys().collect::<Vec<_>>(),
        ["my_server_v1", "remote"]
    );
    let stdio = config.servers["my_server_v1"]
        .stdio
        .as_ref()
        .expect("stdio");
    assert_eq!(stdio.command, ["npx", "-y", "x"]);
    assert_eq!(stdio.env["KEY"].reveal().as_deref(), Ok("d"));
    assert_eq!(
        clients::parse(r#"{"mcpServers": {"a": {}}}"#).expect_err("a problem"),
        r#"server "a": give it a `command` or a `url`"#
    );
    assert_eq!(
        clients::parse(
            r#"{"mcpServers": {"a": {"command": "x", "env": {"K": "${TOOLBUS_TEST_UNSET}"}}}}"#
        )
        .expect_err("a problem"),
        r#"server "a": the environment variable TOOLBUS_TEST_UNSET is not set"#
    );
}

#[test]
fn secrets_are_not_shown() {
    let config = parse("[callers.a]\ntoken = \"hunter2\"\n[callers.b]\ntoken = \"env:TOKEN\"\n");
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("hunter2") && shown.contains("env:TOKEN"),
        "{shown}"
    );
}

#[test]
fn the_published_schema_is_the_one_of_the_code() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/toolbus.schema.json"
    );
    let published = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        published.trim(),
        schema(),
        "run `cargo run -p toolbus -- schema > docs/toolbus.schema.json`"
    );
}

#[test]
fn a_mesh_is_read() {
    let config = parse(
        "[mesh]\nurl = [\"nats://a:1\", \"b\"]\nprefix = \"p\"\ntenant = \"t\"\nnkey = \"file:/run/seed\"\nrouting = \"queue\"\ngrace = \"5s\"\ncompat = \"coreason\"\ntls = { ca = \"ca.pem\", first = true }\n",
    );
    let mesh = &config.mesh;
    assert_eq!(check(&config), Ok(()));
    let urls = mesh.url.as_ref().map(|urls| urls.list());
    assert_eq!(urls, Some(vec!["nats://a:1".to_owned(), "b".to_owned()]));
    assert_eq!(mesh.grace(), std::time::Duration::from_secs(5));
    assert_eq!(
        mesh.subjects().map(|subjects| subjects.gateway("g")),
        Ok("p.v1.gw.g".into())
    );
    assert!(mesh.tls.first && mesh.routing == super::mesh::Routing::Queue);
    let one = parse("[mesh]\nurl = \"a, b\"\n");
    assert_eq!(
        one.mesh.url.map(|urls| urls.list()),
        Some(vec!["a".to_owned(), "b".to_owned()])
    );
    assert_eq!(Config::default().mesh.server, ServerKind::Auto);
}

#[test]
fn a_mesh_that_contradicts_itself_is_refused() {
    for (text, expected) in [
        ("url = \"\"", "[mesh] url: it is empty"),
        (
            "url = \"a\"\nserver = \"managed\"",
            "[mesh] has a `url` and a `server`: keep one of them",
        ),
        (
            "prefix = \"a.b\"",
            "[mesh] prefix \"a.b\": use 1 to 32 of [A-Za-z0-9_-]",
        ),
        (
            "tenant = \"*\"",
            "[mesh] tenant \"*\": use 1 to 32 of [A-Za-z0-9_-]",
        ),
        (
            "token = \"a\"\ncredentials = \"b\"",
            "[mesh] names more than one identity: keep one of `token`, `user`, `nkey` and `credentials`",
        ),
        (
            "user = \"a\"",
            "[mesh] needs both of `user` and `password`, or neither",
        ),
        (
            "tls = { cert = \"a\" }",
            "[mesh] tls needs both of `cert` and `key`, or neither",
        ),
        (
            "compat = \"a.>\"",
            "[mesh] compat: prefix \"a.>\": use 1 to 32 of [A-Za-z0-9_-]",
        ),
    ] {
        assert_eq!(
            problem(&format!("[mesh]\n{text}\n")),
            format!("toolbus.toml: {expected}")
        );
    }
    let server = problem("[mesh]\nserver = \"inprocess\"\n");
    assert!(server.contains("`in-process`"), "{server}");
}

/// Each row of what can be said about time, and the limits that follow, in seconds.
#[test]
fn limits_of_time_are_what_the_rules_say() {
    let limits = |lines: &str| {
        let config = parse(&format!(
            "[servers.a]\n{lines}\n[servers.a.stdio]\ncommand = [\"x\"]\n"
        ));
        let server = &config.servers["a"];
        let limits = server.deadlines(server.tools.get("t"));
        let seconds = |limit: Option<std::time::Duration>| limit.map(|limit| limit.as_secs_f64());
        (seconds(limits.idle), seconds(limits.total))
    };
    for (lines, idle, total) in [
        ("", Some(120.0), Some(1800.0)),
        ("idle_timeout = 90", Some(90.0), Some(1800.0)),
        ("idle_timeout = 0.5", Some(0.5), Some(1800.0)),
        ("idle_timeout = \"1m 30s\"", Some(90.0), Some(1800.0)),
        ("idle_timeout = 0", None, Some(1800.0)),
        ("idle_timeout = \"off\"", None, Some(1800.0)),
        ("idle_timeout = -5", None, Some(1800.0)),
        ("idle_timeout = -0.5", None, Some(1800.0)),
        ("idle_timeout = \"-5s\"", None, Some(1800.0)),
        ("total_timeout = -1", Some(120.0), None),
        ("total_timeout = 60", Some(60.0), Some(60.0)),
        ("idle_timeout = \"2h\"", Some(1800.0), Some(1800.0)),
        ("tools.t.total_timeout = 7", Some(7.0), Some(7.0)),
        (
            "total_timeout = 9\ntools.t.total_timeout = -7",
            Some(120.0),
            None,
        ),
    ] {
        assert_eq!(limits(lines), (idle, total), "{lines}");
    }
    let text = "[servers.a]\nidle_timeout = nan\n[servers.a.stdio]\ncommand = [\"x\"]\n";
    assert!(problem(text).contains("NaN is not a number of seconds"));
}
