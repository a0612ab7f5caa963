//! NKEYs: Ed25519 keys in the text form that NATS has for them, and what a client signs with one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::bus::BusError;
use crate::subject::base32;

/// The first byte of a seed, above its kind: `S`.
const SEED: u8 = 18 << 3;

/// The kind of key that a client has: `U`.
const USER: u8 = 20 << 3;

/// A user's key.
pub(super) struct Nkey(Ed25519KeyPair);

impl Nkey {
    /// From a seed: `SU` and 56 more characters.
    pub(super) fn from_seed(text: &str) -> Result<Self, BusError> {
        let wrong = || {
            BusError(
                "the NKEY is not a user's seed: it begins with SU and has 58 characters".into(),
            )
        };
        let bytes = decoded(text.trim()).ok_or_else(wrong)?;
        let [first, second, key @ .., low, high] = bytes.as_slice() else {
            return Err(wrong());
        };
        let kind = (first & 7) << 5 | second >> 3;
        let sum = u16::from_le_bytes([*low, *high]);
        let fits =
            first & 0xF8 == SEED && kind == USER && checksum(&bytes[..bytes.len() - 2]) == sum;
        if !fits {
            return Err(wrong());
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(key).map_err(|_| wrong())?;
        Ok(Self(pair))
    }

    /// The public half: `U...`.
    pub(super) fn public(&self) -> String {
        let mut bytes = vec![USER];
        bytes.extend_from_slice(self.0.public_key().as_ref());
        bytes.extend_from_slice(&checksum(&bytes).to_le_bytes());
        base32(&bytes)
    }

    /// What the server sent, signed, as the server wants it.
    pub(super) fn sign(&self, nonce: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.0.sign(nonce.as_bytes()))
    }
}

/// The JWT and the seed of a `.creds` file.
pub(super) fn creds(text: &str) -> Result<(String, Nkey), BusError> {
    let jwt = block(text, "USER JWT");
    let seed = block(text, "USER NKEY SEED");
    match (jwt, seed) {
        (Some(jwt), Some(seed)) => Ok((jwt.to_owned(), Nkey::from_seed(seed)?)),
        _ => Err(BusError(
            "the credentials hold no BEGIN NATS USER JWT and BEGIN USER NKEY SEED: use a .creds file".into(),
        )),
    }
}

/// The line after `-----BEGIN ... NAME-----`.
fn block<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("---") && line.contains("BEGIN") && line.contains(name))?;
    lines.find(|line| !line.is_empty())
}

/// RFC 4648, section 6, without padding.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return None,
        };
        held = held << 5 | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xFF) as u8);
        }
    }
    Some(bytes)
}

/// CRC-16/XMODEM.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum: u16, byte| {
        (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| {
            let carries = sum & 0x8000 != 0;
            sum << 1 ^ if carries { 0x1021 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // From the documentation of NATS: https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth
    const SEED_TEXT: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

    #[test]
    fn a_seed_leads_to_its_public_key() {
        let key = Nkey::from_seed(SEED_TEXT).expect("a seed");
        assert_eq!(key.public(), PUBLIC);
        assert_eq!(key.sign("nonce").len(), 86);
    }

    #[test]
    fn what_is_no_seed_is_refused() {
        let mistyped = SEED_TEXT.replace("CSSL", "CSSM");
        for text in ["", "SU", PUBLIC, &mistyped, "SUacs"] {
            assert!(Nkey::from_seed(text).is_err(), "{text}");
        }
        assert!(creds("nothing").is_err());
        let file = format!(
            "-----BEGIN NATS USER JWT-----\neyJ.x.y\n------END NATS USER JWT------\n\n************************* IMPORTANT\n\n-----BEGIN USER NKEY SEED-----\n{SEED_TEXT}\n------END USER NKEY SEED------\n"
        );
        let (jwt, key) = creds(&file).expect("credentials");
        assert_eq!((jwt.as_str(), key.public().as_str()), ("eyJ.x.y", PUBLIC));
    }
}
