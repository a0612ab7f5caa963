//! The resources about the server itself: `omni://system/context`, `omni://system/memory` and `omni://system/stats`.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use serde_json::{Value, json};
use toolbus_model::{Health, Item, Object, Offer};

/// What their URIs begin with.
pub(super) const PREFIX: &str = "omni://system/";
pub(super) const CONTEXT: &str = "omni://system/context";
pub(super) const MEMORY: &str = "omni://system/memory";
pub(super) const STATS: &str = "omni://system/stats";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Their entries in the list.
pub(super) fn items() -> [Item; 3] {
    let item = |uri: &str, name: &str, title: &str, description: &str, media_type: &str| Item {
        key: uri.into(),
        definition: Object::of(&json!({
            "uri": uri, "name": name, "title": title, "description": description, "mimeType": media_type,
        })),
    };
    [
        item(
            CONTEXT,
            "context",
            "Context",
            "What this server is, and what it has.",
            "application/json",
        ),
        item(
            MEMORY,
            "memory",
            "Memory",
            "What is to be remembered here.",
            "text/markdown",
        ),
        item(
            STATS,
            "stats",
            "Statistics",
            "How the server is.",
            "application/json",
        ),
    ]
}

/// When this process began to serve, as far as is known here.
pub(super) fn begun() -> Instant {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    *BEGUN.get_or_init(Instant::now)
}

/// What the server is. Of the working folder only its name: where it lies on this machine is nobody's business.
pub(super) fn context(name: &str, offer: &Offer, skills: Vec<&str>) -> Value {
    let folder = std::env::current_dir().unwrap_or_default();
    let folder = folder.file_name().unwrap_or_default().to_string_lossy();
    json!({
        "server": name,
        "version": VERSION,
        "working_folder": folder,
        "skills": skills,
        "tool_count": offer.tools.len(),
        "prompt_count": offer.prompts.len(),
        "resource_count": offer.resources.len(),
    })
}

/// How the server is.
pub(super) fn stats(offer: &Offer) -> Value {
    json!({
        "uptime_seconds": (begun().elapsed().as_secs_f64() * 10.0).round() / 10.0,
        "tool_count": offer.tools.len(),
        "ready": matches!(offer.health, Health::Up | Health::Resting),
        "version": VERSION,
        "memory_mb": memory_mb(),
    })
}

/// The memory of this process that is in use, in MiB.
fn memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some((kib / 1024.0 * 10.0).round() / 10.0)
}
