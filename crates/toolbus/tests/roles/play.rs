//! The same calls in one role, by clients of both eras.

use serde_json::json;

use crate::differences;
use crate::peer::{Client, Revision, Way};
use crate::role::{Role, Stage};
use crate::transcript::{self, Seen};

/// The eras in which clients call: each request on its own, and sessions.
pub(crate) const ERAS: [Revision; 2] = [Revision::V2026_07_28, Revision::V2025_11_25];

/// The step after which there may be nobody for a moment.
const CRASH: &str = "crashing the interpreter";

/// Plays the transcripts in one role, by clients of both eras.
pub(crate) fn play(role: Role) {
    let Some(stage) = Stage::set(role) else {
        return;
    };
    let (steps, definitions) = (transcript::steps(), transcript::definitions());
    for era in ERAS {
        let way = Way::Http(stage.gateway.address, "/mcp".to_owned());
        let mut client = Client::connect(way, era, era.capabilities()).expect("connected");
        let listed = client.get("tools/list", json!({})).expect("a list");
        assert_eq!(listed["tools"], definitions, "{role:?}, {}", era.name());
        let mut seen: Vec<Seen> = Vec::new();
        for step in &steps {
            seen.push(step.play(&mut client));
            if step.name == CRASH {
                stage.recover(role);
            }
        }
        let wrong: Vec<String> = steps
            .iter()
            .zip(&seen)
            .filter_map(|(step, seen)| differences::judge(role, step, seen))
            .collect();
        assert!(
            wrong.is_empty(),
            "{role:?} to a client of {}:\n{}",
            era.name(),
            wrong.join("\n")
        );
    }
}
