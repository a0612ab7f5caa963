//! Who calls, as the gateway says it: a JWT (RFC 7519), signed with Ed25519 (RFC 8037) where the worker is told a key.

use std::borrow::Cow;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::Deserialize;
use toolbus_model::{CallId, Caller};

/// Clocks may differ by this much, in seconds.
const LEEWAY: u64 = 60;

/// What stands in front of the 32 bytes of an Ed25519 key (RFC 8410, section 4).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The public half of a key that gateways sign callers with.
#[derive(Clone, PartialEq, Eq)]
pub struct CallerKey([u8; 32]);

impl CallerKey {
    /// A key from its text: its 32 bytes in base64, or PEM as `openssl pkey -pubout` writes it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim);
        let body: String = lines.filter(|line| !line.starts_with("-----")).collect();
        let bytes = STANDARD.decode(body).unwrap_or_default();
        let key = bytes.strip_prefix(&SPKI).unwrap_or(&bytes);
        let key = key.try_into().map_err(|_| {
            "it is no public Ed25519 key: use what `openssl pkey -pubout` writes, or its 32 bytes in base64".to_owned()
        });
        key.map(Self)
    }
}

impl fmt::Debug for CallerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallerKey({})", STANDARD.encode(self.0))
    }
}

/// What is read of the claims.
#[derive(Debug, Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    sub: Cow<'a, str>,
    #[serde(borrow, default)]
    tenant: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    call: Option<Cow<'a, str>>,
    #[serde(default)]
    exp: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
}

/// Who calls. With keys the assertion must be there, signed with one of them, for this call and tenant, and not over.
/// Without, it is believed, and a call without one is anybody's.
pub(super) fn caller(
    jwt: Option<&str>,
    keys: &[CallerKey],
    tenant: &str,
    call: CallId,
) -> Result<Caller, String> {
    let Some(jwt) = jwt else {
        return if keys.is_empty() {
            Ok(Caller::local())
        } else {
            Err("this worker takes calls only with a signed Toolbus-Caller".to_owned())
        };
    };
    let wrong = |why: &str| format!("Toolbus-Caller: {why}");
    let (signed, signature) = jwt.rsplit_once('.').ok_or_else(|| wrong("it is no JWT"))?;
    let (head, claims) = signed
        .split_once('.')
        .ok_or_else(|| wrong("it is no JWT"))?;
    if !keys.is_empty() {
        verify(keys, head, signed, signature).map_err(wrong)?;
    }
    let text = URL_SAFE_NO_PAD.decode(claims).unwrap_or_default();
    let claims: Claims<'_> =
        serde_json::from_slice(&text).map_err(|_| wrong("its claims cannot be read"))?;
    if !keys.is_empty() {
        check(&claims, tenant, call).map_err(wrong)?;
    }
    Ok(Caller::named(&claims.sub))
}

fn verify(
    keys: &[CallerKey],
    head: &str,
    signed: &str,
    signature: &str,
) -> Result<(), &'static str> {
    let head = URL_SAFE_NO_PAD.decode(head).unwrap_or_default();
    let head: Option<Head<'_>> = serde_json::from_slice(&head).ok();
    if head.is_none_or(|head| head.alg != "EdDSA") {
        return Err("it must be signed with EdDSA; set caller_key at the gateway");
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    let fits = |key: &CallerKey| {
        let key = UnparsedPublicKey::new(&ED25519, key.0);
        key.verify(signed.as_bytes(), &signature).is_ok()
    };
    if keys.iter().any(fits) {
        Ok(())
    } else {
        Err("it is signed with none of the keys that this worker knows")
    }
}

fn check(claims: &Claims<'_>, tenant: &str, call: CallId) -> Result<(), &'static str> {
    if claims.tenant.as_deref() != Some(tenant) {
        return Err("it is for another tenant");
    }
    let of = claims.call.as_deref().and_then(CallId::parse);
    if of != Some(call) {
        return Err("it is for another call");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    if claims.exp.is_none_or(|end| end + LEEWAY < now) {
        return Err("its time is over");
    }
    Ok(())
}
