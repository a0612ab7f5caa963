//! What is kept and what is not, in a folder of its own.

use super::*;
use std::os::unix::fs::PermissionsExt as _;
use toolbus_backends::process::Command;
use toolbus_model::{Health, Item, Object};

fn stdio(words: &[&str], env: &[(&str, &str)]) -> Target {
    Target::Stdio(Command {
        line: words.iter().map(|word| (*word).to_owned()).collect(),
        env: env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        cwd: None,
    })
}

fn offer(tool: &str) -> Arc<Offer> {
    let definition = Object::of(&serde_json::json!({ "name": tool }));
    Arc::new(Offer {
        tools: vec![Item {
            key: tool.into(),
            definition,
        }],
        capabilities: Some(Object::empty()),
        health: Health::Up,
        ..Offer::default()
    })
}

fn memory(folder: &Path) -> Arc<Memory> {
    Memory::at(folder.to_owned(), [7; 32]).expect("a memory")
}

fn name(text: &str) -> ServerName {
    ServerName::parse(text).expect("a name")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_offer_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = stdio(&["fx"], &[("KEY", "s3cret-value")]);
    let first = memory(folder.path());
    let place = first.place(&name("fx"), &target);
    assert_eq!(first.recall(&place), None);
    let offers = watch::Sender::new(offer("one"));
    first.follow(place.clone(), offers.subscribe());
    offers.send_replace(offer("two"));
    first.close().await;
    let again = memory(folder.path());
    let back = again.recall(&place).expect("an offer");
    assert_eq!(back.tools, offer("two").tools);
    assert_eq!(back.health, Health::Resting);
    let mode = fs::metadata(&place.path)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&place.path).expect("text");
    assert!(!text.contains("s3cret") && !place.path.to_string_lossy().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_is_passed_over_and_written_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = memory(folder.path());
    let place = kept.place(&name("fx"), &stdio(&["fx"], &[]));
    fs::write(&place.path, "{\"form\":1,").expect("written");
    assert_eq!(kept.recall(&place), None);
    let offers = watch::Sender::new(offer("one"));
    kept.follow(place.clone(), offers.subscribe());
    kept.close().await;
    assert!(memory(folder.path()).recall(&place).is_some());
    let huge = vec![b' '; MAX_FILE as usize + 1];
    fs::write(&place.path, huge).expect("written");
    assert_eq!(memory(folder.path()).recall(&place), None);
}

#[test]
fn a_server_that_is_reached_in_another_way_is_another_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = memory(folder.path());
    let of = |server: &str, target: &Target| memory.place(&name(server), target).fingerprint;
    let all = [
        of("a", &stdio(&["fx", "x"], &[])),
        of("a", &stdio(&["fx x"], &[])),
        of("a", &stdio(&["fx"], &[("K", "1")])),
        of("a", &stdio(&["fx"], &[("K", "2")])),
        of("a", &stdio(&["fx"], &[("K", "2"), ("", "")])),
    ];
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    assert_eq!(all[0], of("b", &stdio(&["fx", "x"], &[])));
    let other = Memory::at(folder.path().join("other"), [8; 32]).expect("a memory");
    let elsewhere = other.place(&name("a"), &stdio(&["fx", "x"], &[]));
    assert_ne!(all[0], elsewhere.fingerprint, "it depends on the key");
}

#[test]
fn names_come_back_and_foreign_ones_do_not() {
    let given: Holders = [
        (
            (toolbus_gateway::Shelf::Tools, name("b"), "x".into()),
            "b_x".into(),
        ),
        (
            (toolbus_gateway::Shelf::Prompts, name("a"), "x\"".into()),
            "x_".into(),
        ),
    ]
    .into();
    assert_eq!(names::read(&names::write(&given)), Ok(given));
    assert!(names::read(b"{\"form\":2,\"names\":[]}").is_err());
    assert!(names::read(b"{\"form\":1,\"names\":[[\"cups\",\"a\",\"b\",\"c\"]]}").is_err());
}

#[test]
fn files_that_were_not_used_for_longest_go_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let servers = folder.path().join("servers");
    drop(memory(folder.path()));
    for n in 0..MAX_FILES + 2 {
        let file = File::create(servers.join(format!("{n}.json"))).expect("a file");
        let age = Duration::from_secs(10_000 - n as u64);
        file.set_modified(SystemTime::now() - age).expect("a time");
    }
    assert_eq!(
        read(&servers.join("0.json")),
        Some(Vec::new()),
        "used again"
    );
    drop(memory(folder.path()));
    let is_there = |n: usize| servers.join(format!("{n}.json")).exists();
    assert_eq!([0, 1, 2, 3].map(is_there), [true, false, false, true]);
    assert_eq!(fs::read_dir(&servers).expect("a folder").count(), MAX_FILES);
}
