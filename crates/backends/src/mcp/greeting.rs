//! The first words with a server: what it is asked, and what its answers say of it.

use toolbus_model::json::Edit;
use toolbus_model::{Cause, Era, Error, Object, Raw, Revision};
use toolbus_protocol::{meta, write};

use super::dialect::{quoted, us};
use super::link::Peer;
use super::outgoing::{Ids, Outgoing};

const MODERN: Revision = Revision::V2026_07_28;

pub(super) fn discover(ids: &Ids) -> Outgoing {
    Outgoing::own(ids, MODERN, "server/discover", &[])
}

pub(super) fn initialize(capabilities: &Object, ids: &Ids) -> Outgoing {
    let revision = Revision::NEWEST_LEGACY;
    let (version, us) = (quoted(revision.as_str()), us());
    let members = [
        ("protocolVersion", Edit::Put(&version[..])),
        ("capabilities", Edit::Put(capabilities.bytes())),
        ("clientInfo", Edit::Put(us.bytes())),
    ];
    Outgoing::own(ids, revision, "initialize", &members)
}

pub(super) fn initialized() -> Vec<u8> {
    write::notification(
        "notifications/initialized",
        |out| out.extend_from_slice(b"{}"),
        2,
    )
}

/// Who answered `server/discover`; nobody who speaks the revision in which we asked, where that is not named.
pub(super) fn discovered(result: &Object) -> Option<Peer> {
    if !names_ours(result.raw("supportedVersions").as_ref()) {
        return None;
    }
    let meta = result.object("_meta").and_then(Result::ok);
    Some(Peer {
        revision: MODERN,
        capabilities: result
            .object("capabilities")
            .and_then(Result::ok)
            .unwrap_or_else(Object::empty),
        info: meta.and_then(|meta| meta.raw(meta::SERVER)),
        instructions: result.str("instructions").map(|text| text.into_owned()),
    })
}

/// A server that refuses a request for its revision, and names that very revision as one that it speaks. It is asked once
/// more.
pub(super) fn offers_ours(error: &Error) -> bool {
    let Error::Upstream {
        code: -32022,
        data: Some(data),
        ..
    } = error
    else {
        return false;
    };
    let data = Object::from_raw(data).ok();
    data.is_some_and(|data| names_ours(data.raw("supported").as_ref()))
}

fn names_ours(versions: Option<&Raw>) -> bool {
    let named = versions.and_then(|versions| versions.read::<Vec<String>>().ok());
    named.is_some_and(|named| named.iter().any(|version| version == MODERN.as_str()))
}

/// Who answered `initialize`.
pub(super) fn opened(result: &Object) -> Result<Peer, Error> {
    let version = result.str("protocolVersion").unwrap_or_default();
    let revision = Revision::parse(&version).filter(|revision| revision.era() == Era::Legacy);
    let unknown = || {
        Cause::new(format!(
            "the server answered initialize with the unknown revision {version:?}"
        ))
    };
    Ok(Peer {
        revision: revision.ok_or_else(|| Error::Unavailable(unknown().into()))?,
        capabilities: result
            .object("capabilities")
            .and_then(Result::ok)
            .unwrap_or_else(Object::empty),
        info: result.raw("serverInfo"),
        instructions: result.str("instructions").map(|text| text.into_owned()),
    })
}
