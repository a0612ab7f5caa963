//! Who calls, as a JWT for workers: signed where a key is configured.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use toolbus_model::{Call, CallId, Caller, json};

/// How long an assertion is good for a call without a limit of time.
const LASTS: Duration = Duration::from_secs(24 * 3600);

/// Clocks may differ by this much.
const LEEWAY: Duration = Duration::from_secs(60);

/// `{"alg":"none"}` and `{"alg":"EdDSA","typ":"JWT"}` in base64.
const UNSIGNED: &str = "eyJhbGciOiJub25lIn0";
const SIGNED: &str = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9";

/// Signs assertions, with Ed25519.
pub struct SigningKey(Ed25519KeyPair);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// A key from its text: PKCS #8 as PEM, as `openssl genpkey -algorithm ed25519` writes it, or its 32 bytes in base64.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            "it is no Ed25519 key: use what `openssl genpkey -algorithm ed25519` writes, or 32 bytes in base64".to_owned()
        };
        let body: String = text
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .map(str::trim)
            .collect();
        let bytes = STANDARD.decode(body).map_err(|_| wrong())?;
        let pair = match bytes.len() {
            32 => Ed25519KeyPair::from_seed_unchecked(&bytes),
            _ => Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes),
        };
        pair.map(Self).map_err(|_| wrong())
    }

    /// The public key that workers are told, in base64.
    pub fn public(&self) -> String {
        STANDARD.encode(self.0.public_key())
    }
}

/// The assertion for a call, which has this much time left.
pub(super) fn assertion(
    key: Option<&SigningKey>,
    call: &Call,
    tenant: &str,
    left: Option<Duration>,
) -> String {
    of(key, &call.seed.caller, call.id, tenant, left)
}

/// The assertion that this caller makes a request.
pub(super) fn of(
    key: Option<&SigningKey>,
    caller: &Caller,
    call: CallId,
    tenant: &str,
    left: Option<Duration>,
) -> String {
    let mut claims = Vec::with_capacity(160);
    claims.extend_from_slice(br#"{"sub":"#);
    json::write_string(caller.as_str(), &mut claims);
    claims.extend_from_slice(br#","tenant":"#);
    json::write_string(tenant, &mut claims);
    let Some(key) = key else {
        // Nobody can hold it to a call or a time.
        claims.push(b'}');
        return format!("{UNSIGNED}.{}.", URL_SAFE_NO_PAD.encode(&claims));
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let end = now.unwrap_or_default() + left.unwrap_or(LASTS) + LEEWAY;
    let rest = format!(r#","call":"{}","exp":{}}}"#, call, end.as_secs());
    claims.extend_from_slice(rest.as_bytes());
    let mut jwt = format!("{SIGNED}.{}", URL_SAFE_NO_PAD.encode(&claims));
    let signature = key.0.sign(jwt.as_bytes());
    jwt.push('.');
    URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut jwt);
    jwt
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};
    use serde_json::Value;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::caller::request::tests::seed;

    /// RFC 8032, section 7.1, test 1.
    const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";

    #[tokio::test]
    async fn an_assertion_says_who_calls_and_is_signed_where_there_is_a_key() {
        let (call, _end) = Call::begin(seed(), CancellationToken::new());
        let key = SigningKey::parse(SEED).expect("a key");
        for key in [None, Some(&key)] {
            let jwt = assertion(key, &call, "t1", Some(Duration::from_secs(5)));
            let parts: Vec<&str> = jwt.split('.').collect();
            let read = |part: &str| -> Value {
                let text = URL_SAFE_NO_PAD.decode(part).expect("base64");
                serde_json::from_slice(&text).expect("JSON")
            };
            let claims = read(parts[1]);
            assert_eq!(
                (&claims["sub"], &claims["tenant"]),
                (&"local".into(), &"t1".into())
            );
            match key {
                None => {
                    assert_eq!((&read(parts[0])["alg"], parts[2]), (&"none".into(), ""));
                    assert!(claims["call"].is_null() && claims["exp"].is_null());
                }
                Some(key) => {
                    assert_eq!(read(parts[0])["alg"], "EdDSA");
                    assert_eq!(claims["call"], call.id.to_string());
                    let public = STANDARD.decode(key.public()).expect("base64");
                    let signature = URL_SAFE_NO_PAD.decode(parts[2]).expect("base64");
                    let signed = jwt.rsplit_once('.').expect("three parts").0;
                    let public = UnparsedPublicKey::new(&ED25519, public);
                    assert!(public.verify(signed.as_bytes(), &signature).is_ok());
                }
            }
        }
    }

    #[test]
    fn other_keys_are_refused_in_words() {
        for text in ["", "abc", "AAAA", "-----BEGIN RSA-----"] {
            let why = SigningKey::parse(text).expect_err("no key");
            assert!(why.contains("openssl genpkey"), "{why}");
        }
        let public = SigningKey::parse(SEED).expect("a key").public();
        assert_eq!(public, "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    }
}
