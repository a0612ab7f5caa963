//! Text that we hand out and must be able to trust when it comes back: sealed with a key that replicas share.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// The key under which session ids are sealed. Replicas that share it serve each other's sessions.
#[derive(Debug, Clone)]
pub struct Key(std::sync::Arc<LessSafeKey>);

impl Key {
    /// Length of a key, in bytes.
    pub const LEN: usize = 32;

    /// A key of these bytes.
    pub fn new(bytes: &[u8; Self::LEN]) -> Self {
        // Cannot fail: the length is the algorithm's.
        let Ok(key) = UnboundKey::new(&AES_256_GCM, bytes) else {
            unreachable!("a key of the right length")
        };
        Self(std::sync::Arc::new(LessSafeKey::new(key)))
    }

    /// New random bytes for a key.
    pub fn generate() -> Result<[u8; Self::LEN], String> {
        let mut bytes = [0; Self::LEN];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| "the system has no randomness".to_owned())?;
        Ok(bytes)
    }

    /// Seals `text` for `purpose`, as visible ASCII.
    pub fn seal(&self, purpose: &str, text: &[u8]) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = text.to_vec();
        let aad = Aad::from(purpose.as_bytes());
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// Opens what [`Key::seal`] made for the same purpose; anything else is nothing.
    pub fn open(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = self
            .0
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), text)
            .ok()?;
        Some(text.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_opens() {
        let (key, other) = (Key::new(&[1; 32]), Key::new(&[2; 32]));
        let sealed = key.seal("session", b"text").expect("sealed");
        assert_eq!(key.open("session", &sealed).as_deref(), Some(&b"text"[..]));
        assert_eq!(other.open("session", &sealed), None);
        assert_eq!(key.open("state", &sealed), None);
        for at in 0..sealed.len() {
            let mut bent = sealed.clone().into_bytes();
            bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                key.open("session", &String::from_utf8(bent).expect("ASCII")),
                None,
                "byte {at}"
            );
        }
        assert_eq!(key.open("session", ""), None);
        assert_eq!(key.open("session", "AAAA"), None);
    }
}
