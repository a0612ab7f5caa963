//! Content as a back end: what it lists, reads and completes, and what it never reads.

mod escapes;
mod prompts;
mod resources;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;
use toolbus_model::{CallSeed, Caller, Item, Raw, Revision, Trace};

use super::*;

/// Nothing here takes longer than this unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

fn seed() -> CallSeed {
    CallSeed {
        caller: Caller::local(),
        revision: Revision::V2026_07_28,
        door: "test",
        capabilities: Raw::of(&json!({})),
        client: None,
        log_level: None,
        progress_token: None,
        trace: Trace::default(),
    }
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, content).expect("written");
}

/// Settings that serve a folder at `docs://`.
fn docs(folder: &Path) -> Settings {
    Settings {
        folders: vec![Files::of(folder.to_owned(), "docs://".to_owned())],
        ..Settings::default()
    }
}

async fn ask(content: &Content, method: &str, params: Value) -> Result<Value, Error> {
    let method = Method::parse(method);
    let target = method
        .target_member()
        .and_then(|member| params[member].as_str().map(Arc::from));
    let request = Request {
        method,
        target,
        params: Object::of(&params),
        meta: Object::empty(),
    };
    let (call, _end) = Call::begin(seed(), CancellationToken::new());
    let outcome = timeout(PATIENCE, content.serve(request, &call))
        .await
        .expect("in time")?;
    Ok(outcome.object().to_raw().read().expect("JSON"))
}

async fn read(content: &Content, uri: &str) -> Result<Value, Error> {
    let result = ask(content, "resources/read", json!({ "uri": uri })).await?;
    assert_eq!(result["contents"][0]["uri"], uri);
    Ok(result["contents"][0].clone())
}

async fn text(content: &Content, uri: &str) -> String {
    let content = read(content, uri)
        .await
        .unwrap_or_else(|error| panic!("{uri}: {error}"));
    content["text"]
        .as_str()
        .unwrap_or_else(|| panic!("{uri} is no text: {content}"))
        .to_owned()
}

/// Waits until the offer is such.
async fn offered(content: &Content, is_such: impl Fn(&Offer) -> bool) -> Arc<Offer> {
    let mut offers = content.offer();
    let such = offers.wait_for(|offer| offer.is_settled() && is_such(offer));
    let such = timeout(PATIENCE, such)
        .await
        .expect("in time")
        .expect("an offer");
    Arc::clone(&such)
}

fn keys(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| &*item.key).collect()
}

fn listed(item: &Item) -> Value {
    item.definition.to_raw().read().expect("JSON")
}
