//! Every way in which a run can end, and what its caller is told.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::process::{self, Exceeded};

fn limits() -> Limits {
    Limits {
        timeout: None,
        output: 1024,
        process: process::Limits {
            memory: Some(64 << 20),
            address_space: None,
            cpu: Some(Duration::from_secs(2)),
            file_size: Some(4096),
            open_files: Some(20),
            processes: Some(8),
        },
    }
}

fn after(end: End, stdout: &str, stderr: &str) -> Value {
    let ran = Ran {
        end,
        stdout: Bytes::copy_from_slice(stdout.as_bytes()),
        stderr: (!stderr.is_empty()).then(|| stderr.to_owned()),
        command: "python x.py".into(),
    };
    let outcome = outcome(ran, &limits()).expect("an outcome");
    let Outcome::Complete(object) = outcome else {
        panic!("{outcome:?}");
    };
    object.to_raw().read().expect("JSON")
}

fn exit(code: i32, stdout: &str, stderr: &str) -> Value {
    after(End::Ended(Ended::Exit(code)), stdout, stderr)
}

/// The only text of a result that failed.
fn failure(result: &Value) -> String {
    assert_eq!(result["isError"], true, "{result}");
    assert_eq!(
        result["content"].as_array().map(Vec::len),
        Some(1),
        "{result}"
    );
    result["content"][0]["text"]
        .as_str()
        .expect("a text")
        .to_owned()
}

#[test]
fn what_ends_well_is_passed_on() {
    let text = |text: &str| json!({"content": [{"type": "text", "text": text}], "isError": false});
    for (stdout, expected) in [
        ("", json!({"content": [], "isError": false})),
        (" \n", json!({"content": [], "isError": false})),
        ("\"a\\u00e9\"\n", text("aé")),
        ("[1, 2.50]", text("[1, 2.50]")),
        ("3.10", text("3.10")),
        ("null", text("null")),
        (r#"{"value": "<x>", "_serialized": true}"#, text("<x>")),
        (
            r#"{"a":  1.0}"#,
            json!({"content": [{"type": "text", "text": "{\"a\":  1.0}"}], "structuredContent": {"a": 1.0}, "isError": false}),
        ),
    ] {
        assert_eq!(exit(0, stdout, "noise"), expected, "{stdout}");
    }
    let results = [
        r#"{"content": [], "x": 1}"#,
        r#"{"content": [{"type": "text", "text": "no"}], "isError": true}"#,
        r#"{"content": [{"type": "image", "data": "", "mimeType": "image/png"}], "structuredContent": [1]}"#,
    ];
    for result in results {
        assert_eq!(
            exit(0, result, "").to_string(),
            serde_json::from_str::<Value>(result)
                .expect("JSON")
                .to_string()
        );
    }
    // An object that only has a member of this name.
    let own = exit(0, r#"{"content": "text"}"#, "");
    assert_eq!(own["structuredContent"]["content"], "text");
}

#[test]
fn what_is_not_json_is_text_and_said_so() {
    let result = exit(0, "hello\nworld\n", "");
    assert_eq!(result["isError"], false);
    assert_eq!(result["content"][0]["text"], "hello\nworld");
    let note = result["content"][1]["text"].as_str().unwrap_or_default();
    assert!(
        note.contains("stdout is not JSON, and is passed on as text"),
        "{note}"
    );
}

#[test]
fn failures_have_their_message_and_the_last_words() {
    for (code, stdout, stderr, expected) in [
        (
            1,
            r#"{"success": false, "error": "no such branch"}"#,
            "ValueError: no such branch",
            "no such branch\ncommand: python x.py\nexit status 1\nstderr:\nValueError: no such branch",
        ),
        (
            0,
            r#"{"success": false, "error": {"message": "m"}}"#,
            "",
            "m\ncommand: python x.py",
        ),
        (
            3,
            "half of it",
            "Traceback\nTypeError: t",
            "TypeError: t\ncommand: python x.py\nexit status 3\nstderr:\nTraceback\nTypeError: t\nstdout:\nhalf of it",
        ),
        (
            2,
            "",
            "",
            "The script failed.\ncommand: python x.py\nexit status 2",
        ),
    ] {
        assert_eq!(failure(&exit(code, stdout, stderr)), expected);
    }
    let own = exit(
        1,
        r#"{"content": [{"type": "text", "text": "t"}], "isError": false}"#,
        "",
    );
    assert_eq!(failure(&own), "t");
    let asked = exit(
        0,
        r#"{"resultType": "input_required", "inputRequests": {}}"#,
        "",
    );
    assert!(failure(&asked).contains("A script cannot"), "{asked}");
}

#[test]
fn a_limit_is_named() {
    let signal = |number| End::Ended(Ended::Signal(number));
    let exceeded = |limit| End::Ended(Ended::Exceeded(limit));
    for (end, stderr, expected) in [
        (
            signal(24),
            "",
            "used more than 2 s of processor time (limit `cpu`)",
        ),
        (
            signal(25),
            "",
            "a file of more than 4 KiB (limit `file_size`)",
        ),
        (signal(11), "", "killed by signal 11 (SIGSEGV)"),
        (signal(9), "", "killed by signal 9 (SIGKILL)"),
        (
            signal(6),
            "terminate called after throwing an instance of 'std::bad_alloc'",
            "may have 64 MiB, limit `memory`",
        ),
        (
            exceeded(Exceeded::Processes),
            "",
            "more than 8 processes (limit `processes`)",
        ),
        (
            exceeded(Exceeded::Memory),
            "",
            "more than 64 MiB of memory (limit `memory`)",
        ),
        (
            exceeded(Exceeded::Cpu),
            "",
            "used more than 2 s of processor time (limit `cpu`)",
        ),
        (
            End::Timeout(Duration::from_millis(1500)),
            "",
            "longer than 1.5 s (limit `timeout`)",
        ),
        (
            End::Output(1000),
            "",
            "more than 1000 bytes to stdout (limit `output`)",
        ),
        (
            End::Ended(Ended::Exit(1)),
            "a\nMemoryError",
            "may have 64 MiB, limit `memory`",
        ),
        (
            End::Ended(Ended::Exit(1)),
            "OSError: [Errno 24] Too many open files: 'x'",
            "may have 20 open, limit `open_files`",
        ),
        (
            End::Ended(Ended::Exit(1)),
            "OSError: [Errno 27] File too large",
            "may have files of 4 KiB, limit `file_size`",
        ),
        (
            End::Ended(Ended::Exit(152)),
            "",
            "exit status 152: the script used more than 2 s",
        ),
    ] {
        let text = failure(&after(end.clone(), "", stderr));
        assert!(text.contains(expected), "{end:?}: {text}");
    }
    let said = exit(
        0,
        r#"{"content": [{"type": "text", "text": "MemoryError"}], "isError": true}"#,
        "",
    );
    let hint = said["content"][1]["text"].as_str().unwrap_or_default();
    assert!(hint.contains("limit `memory`"), "{said}");
}

#[test]
fn a_lost_warden_leaves_the_outcome_unknown() {
    let ran = Ran {
        end: End::Ended(Ended::Lost),
        stdout: Bytes::new(),
        stderr: None,
        command: "x".into(),
    };
    let error = outcome(ran, &limits()).expect_err("unknown");
    assert!(matches!(error, Error::OutcomeUnknown(_)), "{error}");
}
