//! What is written down, answered, and not answered.

use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{BufReader, duplex, split};

use super::*;

async fn play(lines: &[Value]) -> (Vec<Value>, String) {
    let folder = std::env::temp_dir().join(format!("ledger-{}", uuid::Uuid::now_v7()));
    let log = OpenOptions::new().create(true).append(true).open(&folder);
    let (ours, theirs) = duplex(1 << 16);
    let (input, output) = split(theirs);
    let serving = serve_lines(log.unwrap(), BufReader::new(input), output);
    let (mut answers, mut requests) = split(ours);
    for line in lines {
        let line = format!("{line}\n");
        requests.write_all(line.as_bytes()).await.unwrap();
    }
    requests.shutdown().await.unwrap();
    let mut text = String::new();
    let reading = tokio::io::AsyncReadExt::read_to_string(&mut answers, &mut text);
    let (served, read) = tokio::join!(serving, reading);
    served.unwrap();
    read.unwrap();
    let log = std::fs::read_to_string(&folder).unwrap();
    std::fs::remove_file(&folder).unwrap();
    let answers = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (answers.collect(), log)
}

fn call(id: u64, tool: &str, arguments: Value) -> Value {
    let params = json!({"name": tool, "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
}

#[tokio::test]
async fn an_execution_is_written_down_and_answered() {
    let lines = [
        call(1, "once", json!({"id": "a", "ms": 30})),
        call(2, "again", json!({"id": "b"})),
        call(3, "other", json!({"id": "c"})),
    ];
    let (answers, log) = play(&lines).await;
    assert_eq!(log, "a\nb\n");
    let mut ids: Vec<_> = answers
        .iter()
        .map(|answer| answer["id"].as_u64().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3]);
    // The one that takes longest is answered last.
    assert_eq!(answers[2]["result"]["content"][0]["text"], "a");
}

#[tokio::test]
async fn what_is_cancelled_was_written_down_and_is_not_answered() {
    let begun = Instant::now();
    let cancel =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    let begin = call(1, "once", json!({"id": "a", "ms": 50_000}));
    // Something else before it, so that the call is at work.
    let between = call(2, "once", json!({"id": "b"}));
    let (answers, log) = play(&[begin, between, cancel]).await;
    assert_eq!(log, "a\nb\n");
    assert!(answers.len() == 1 && begun.elapsed() < Duration::from_secs(20));
}
