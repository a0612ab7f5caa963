//! Capability execution on bytes: what is asked, for which tenant, how large it may be, and what is noted of it.

mod bounds;
mod receipt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::Deserialize;
use toolbus_model::json::{Edit, write_string};
use toolbus_model::{Claims, Error, Object, Raw};

pub use bounds::{Bounds, check_id};
pub use receipt::{Parties, Receipt, Status, payload_hash};

/// The largest encoded request, in bytes.
pub const LARGEST: usize = 10_485_760;

/// The member of `_meta` in which the state of an execution travels.
pub const META_STATE: &str = "toolbus/state";

/// The member of a result's `_meta` that says that the result was not written for MCP: what the worker said is
/// `structuredContent`.
pub const META_PLAIN: &str = "toolbus/plain";

/// The header behind a trusted proxy that holds a caller's claims.
pub const CLAIMS_HEADER: &str = "x-jwt-payload";

/// The argument that names a tenant.
const TENANT: &str = "tenant_cid";

/// The largest header of claims, in bytes; a request's whole head has 64 KiB.
const LARGEST_CLAIMS: usize = 8 * 1024;

/// What is to be executed.
#[derive(Debug, Clone)]
pub struct Execution {
    /// A URN or an alias.
    pub tool: String,
    /// The arguments.
    pub intent: Object,
    /// What goes beside them.
    pub state: Object,
}

impl Execution {
    /// Reads the body of a request.
    pub fn parse(body: Bytes) -> Result<Self, Error> {
        let wrong = |why: String| Error::InvalidRequest(format!("Invalid request: {why}"));
        let body = Object::parse(body).map_err(|error| match error {
            toolbus_model::json::JsonError::Shape(why) => wrong(format!("the body: {why}")),
            other => Error::Parse(format!("Parse error: {other}")),
        })?;
        const MEMBERS: [&str; 3] = ["toolName", "intent", "state"];
        if let Some(name) = body.duplicate(&MEMBERS) {
            return Err(wrong(format!("member {name:?} stands twice")));
        }
        if let Some((name, _)) = body
            .iter()
            .find(|(name, _)| !MEMBERS.contains(&name.as_ref()))
        {
            let name: String = name.chars().take(60).collect();
            return Err(wrong(format!(
                "member {name:?} is not known; there are \"toolName\", \"intent\" and \"state\""
            )));
        }
        let tool = body.str("toolName").map(std::borrow::Cow::into_owned);
        let tool = tool.filter(|tool| !tool.is_empty());
        let object = |name: &str| match body.object(name) {
            Some(Ok(object)) => Ok(object),
            _ => Err(wrong(format!("member {name:?} must be an object"))),
        };
        Ok(Self {
            tool: tool.ok_or_else(|| {
                wrong("member \"toolName\" must be a string, a URN or an alias".to_owned())
            })?,
            intent: object("intent")?,
            state: object("state")?,
        })
    }

    /// The parameters of the call that it stands for, under the name that the tool has here.
    pub fn params(&self, name: &str) -> Object {
        let mut out =
            Vec::with_capacity(self.intent.bytes().len() + self.state.bytes().len() + 128);
        out.extend_from_slice(b"{\"name\":");
        write_string(name, &mut out);
        out.extend_from_slice(b",\"arguments\":");
        out.extend_from_slice(self.intent.bytes());
        out.extend_from_slice(b",\"_meta\":");
        out.extend_from_slice(self.meta().bytes());
        out.push(b'}');
        // Joined from what was read as JSON.
        Object::parse(out.into()).unwrap_or_else(|_| Object::empty())
    }

    /// The `_meta` of that call.
    pub fn meta(&self) -> Object {
        Object::empty().edited(&[(META_STATE, Edit::Put(self.state.bytes()))])
    }
}

/// Reads the claims that a trusted proxy wrote: base64url of a JSON object, of which `sub` is the tenant.
pub fn read_claims(header: &str) -> Result<Claims, String> {
    #[derive(Deserialize)]
    struct Said {
        sub: String,
        spiffe_id: Option<String>,
    }
    let wrong = |why: &str| format!("{CLAIMS_HEADER}: {why}");
    if header.len() > LARGEST_CLAIMS {
        return Err(wrong("it is larger than 8 KiB"));
    }
    let text = URL_SAFE_NO_PAD.decode(header.trim().trim_end_matches('='));
    let text = text.map_err(|_| wrong("it is not base64url"))?;
    let said: Said = serde_json::from_slice(&text)
        .map_err(|error| wrong(&format!("it is no object with a string \"sub\": {error}")))?;
    for value in [Some(&said.sub), said.spiffe_id.as_ref()]
        .into_iter()
        .flatten()
    {
        // Both go on as headers.
        if value.is_empty() || value.len() > 256 || !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(wrong(
                "\"sub\" and \"spiffe_id\" have 1 to 256 printable ASCII characters",
            ));
        }
    }
    Ok(Claims {
        tenant: Some(said.sub),
        spiffe_id: said.spiffe_id,
    })
}

/// Checks the tenant that the arguments name against the caller's. `is_needed`: whoever names one has to show that it
/// is theirs.
pub fn check_tenant(
    claims: Option<&Claims>,
    arguments: Option<&Raw>,
    is_needed: bool,
) -> Result<(), String> {
    let arguments = arguments.and_then(|arguments| Object::from_raw(arguments).ok());
    let Some(arguments) = arguments else {
        return Ok(());
    };
    // Two readers could each take another one of two.
    if arguments.duplicate(&[TENANT]).is_some() {
        return Err(format!("the argument {TENANT:?} stands twice"));
    }
    let Some(named) = arguments.raw(TENANT) else {
        return Ok(());
    };
    match claims.and_then(|claims| claims.tenant.as_deref()) {
        Some(tenant) if named.as_str().as_deref() == Some(tenant) => Ok(()),
        Some(_) => Err(format!(
            "the argument {TENANT:?} is not the caller's tenant"
        )),
        None if is_needed => Err(format!(
            "the argument {TENANT:?} names a tenant, but the caller did not show one"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
