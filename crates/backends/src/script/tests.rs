//! What the tests of this folder share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use toolbus_model::{Call, CallSeed, Caller, Object, Revision, Trace};

/// A call that asks for no notices.
pub(super) fn call() -> Arc<Call> {
    let seed = CallSeed {
        caller: Caller::local(),
        revision: Revision::V2026_07_28,
        door: "test",
        capabilities: Object::empty().to_raw(),
        client: None,
        log_level: None,
        progress_token: None,
        trace: Trace::default(),
    };
    Call::begin(seed, CancellationToken::new()).0
}
