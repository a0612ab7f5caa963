//! Subjects, and the tokens that stand for tools in them.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use sha2::{Digest, Sha256};
use toolbus_model::{Method, ServerName};

/// A token above this is replaced by a hash, in bytes. With the rest of a subject it stays under [`LONGEST`].
const LONGEST_TOKEN: usize = 180;

/// The longest subject, in bytes. nats-server closes the whole connection at about 4 KiB.
pub const LONGEST: usize = 256;

/// The most tokens in a subject.
pub const MOST_TOKENS: usize = 16;

/// The tenant of a set-up with a single account.
pub const NO_TENANT: &str = "_";

/// The queue group of workers.
pub const WORKERS: &str = "workers";

/// What stands before a hash. `=` is followed by two hex digits in every other place.
const HASHED: &str = "h=";

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Any name as one token: legal in a subject, as a KV key, in a permission and as a file name. `[A-Za-z0-9_-]` stay,
/// every other byte is `=XX`; what is too long for that is its SHA-256.
pub fn token(name: &str) -> String {
    let mut token = String::with_capacity(name.len() + 8);
    for byte in name.bytes() {
        if is_plain(byte) {
            token.push(char::from(byte));
        } else {
            let _ = write!(token, "={byte:02X}");
        }
    }
    if token.starts_with(HASHED) {
        // Not a hash, though it would look like one: its `h` is written out.
        token.replace_range(..1, "=68");
    }
    if token.len() <= LONGEST_TOKEN && !token.is_empty() {
        return token;
    }
    HASHED.to_owned() + &base32(&Sha256::digest(name.as_bytes()))
}

/// The name that a token stands for; `None` where it is a hash. A token that [`token`] does not write is an error.
pub fn name(text: &str) -> Result<Option<String>, String> {
    let wrong = || format!("{text:?} is no token: use [A-Za-z0-9_-], and =XX for any other byte");
    if let Some(hash) = text.strip_prefix(HASHED) {
        let fits = hash.len() == 52 && hash.bytes().all(|byte| BASE32.contains(&byte));
        return if fits { Ok(None) } else { Err(wrong()) };
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'=' => bytes.push(hex(rest.next(), rest.next()).ok_or_else(wrong)?),
            byte if is_plain(byte) => bytes.push(byte),
            _ => return Err(wrong()),
        }
    }
    let name = String::from_utf8(bytes).map_err(|_| wrong())?;
    // One name has one token, so that nobody is reached, or permitted, under two.
    if token(&name) == text {
        Ok(Some(name))
    } else {
        Err(wrong())
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn hex(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(high?)? * 16 + digit(low?)?;
    u8::try_from(value).ok()
}

/// RFC 4648, section 6, without padding.
pub(crate) fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(BASE32[(held >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        text.push(char::from(BASE32[(held << (5 - bits) & 31) as usize]));
    }
    text
}

/// Checks a subject that is published to, or with wildcards one that is subscribed to. The server itself takes `a.*.b`
/// as the subject of a message.
pub fn check(subject: &str, wildcards: bool) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("subject {subject:?}: {why}"));
    if subject.len() > LONGEST {
        return wrong("it is longer than 256 bytes");
    }
    let count = subject.bytes().filter(|byte| *byte == b'.').count() + 1;
    if count > MOST_TOKENS {
        return wrong("it has more than 16 tokens");
    }
    for (place, token) in subject.split('.').enumerate() {
        let is_last = place + 1 == count;
        match token {
            "" => return wrong("a token is empty"),
            "*" if wildcards => {}
            ">" if wildcards && is_last => {}
            token
                if token
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b"*>".contains(&byte)) => {}
            _ => {
                return wrong(
                    "a token holds a wildcard, a space or another character that is not allowed",
                );
            }
        }
    }
    Ok(())
}

/// A subject, or a key, is one of those that a pattern stands for.
pub fn matches(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            (_, None) => return false,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// Checks a key of a bucket.
pub fn check_key(key: &str) -> Result<(), String> {
    let fits = |byte: u8| is_plain(byte) || matches!(byte, b'/' | b'=' | b'.');
    if !key.bytes().all(fits) {
        return Err(format!("key {key:?}: use [-/_=.a-zA-Z0-9]"));
    }
    check(key, false).map_err(|why| why.replacen("subject", "key", 1))
}

/// Checks the name of a bucket, an object store or a stream.
pub fn check_store(name: &str) -> Result<(), String> {
    if (1..=64).contains(&name.len()) && name.bytes().all(is_plain) {
        return Ok(());
    }
    Err(format!("store {name:?}: use 1 to 64 of [A-Za-z0-9_-]"))
}

/// Where everything of one mesh and tenant is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    prefix: String,
    tenant: String,
}

/// What a worker can be asked to do: a tool of a server, or another method of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Work<'a> {
    /// `tools/call` of this tool.
    Tool(&'a ServerName, Cow<'a, str>),
    /// Any other method.
    Method(&'a ServerName, Cow<'a, str>),
}

impl<'a> Work<'a> {
    /// What a request is for.
    pub fn of(server: &'a ServerName, method: &'a Method, target: Option<&'a str>) -> Self {
        match (method, target) {
            (Method::ToolsCall, Some(tool)) => Self::Tool(server, tool.into()),
            (method, _) => Self::Method(server, method.as_str().into()),
        }
    }

    /// Its one token.
    pub fn token(&self) -> String {
        token(&self.to_string())
    }
}

impl fmt::Display for Work<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool(server, tool) => write!(f, "{server}.{tool}"),
            Self::Method(server, method) => write!(f, "{server}/{method}"),
        }
    }
}

impl Subjects {
    /// The subjects under a prefix, for a tenant. Both are single plain tokens.
    pub fn new(prefix: &str, tenant: &str) -> Result<Self, String> {
        for (what, text) in [("prefix", prefix), ("tenant", tenant)] {
            if !(1..=32).contains(&text.len()) || !text.bytes().all(is_plain) {
                return Err(format!("{what} {text:?}: use 1 to 32 of [A-Za-z0-9_-]"));
            }
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            tenant: tenant.to_owned(),
        })
    }

    /// The tenant.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Where any worker that has it is asked: the queue group's subject.
    pub fn work(&self, work: &Work<'_>) -> String {
        let Self { prefix, tenant } = self;
        match work {
            Work::Tool(..) => format!("{prefix}.v1.tool.{tenant}.{}.invoke", work.token()),
            Work::Method(server, method) => {
                format!("{prefix}.v1.server.{tenant}.{server}.{}", token(method))
            }
        }
    }

    /// Where one worker is asked.
    pub fn instance(&self, worker: &str, work: &Work<'_>) -> String {
        let Self { prefix, tenant } = self;
        format!("{prefix}.v1.inst.{tenant}.{worker}.{}", work.token())
    }

    /// Everything that one worker is asked itself.
    pub fn instance_all(&self, worker: &str) -> String {
        let Self { prefix, tenant } = self;
        format!("{prefix}.v1.inst.{tenant}.{worker}.*")
    }

    /// Everything but tools that a server is asked.
    pub fn server_all(&self, server: &ServerName) -> String {
        let Self { prefix, tenant } = self;
        format!("{prefix}.v1.server.{tenant}.{server}.*")
    }

    /// Where a worker is steered.
    pub fn control(&self, worker: &str) -> String {
        let Self { prefix, tenant } = self;
        format!("{prefix}.v1.ctl.{tenant}.{worker}")
    }

    /// Where a gateway is asked.
    pub fn gateway(&self, gateway: &str) -> String {
        format!("{}.v1.gw.{gateway}", self.prefix)
    }

    /// Where a worker's heart beats; of all workers with `*`.
    pub fn heartbeat(&self, worker: &str) -> String {
        format!("{}.v1.hb.{worker}", self.prefix)
    }

    /// Where a record of a call goes: `ok`, `err` or `unknown`.
    pub fn audit(&self, work: &Work<'_>, outcome: &str) -> String {
        let Self { prefix, tenant } = self;
        format!("{prefix}.v1.audit.{tenant}.{}.{outcome}", work.token())
    }

    /// The records of all calls, of every tenant.
    pub fn audit_all(&self) -> String {
        format!("{}.v1.audit.>", self.prefix)
    }

    /// A bucket's name, such as `TOOLBUS_TOOLS`.
    pub fn bucket(&self, what: &str) -> String {
        format!("{}_{what}", self.prefix.to_uppercase())
    }

    /// A key in a bucket: the tenant and what belongs to it.
    pub fn key(&self, parts: &[&str]) -> String {
        let mut key = self.tenant.clone();
        for part in parts {
            key.push('.');
            key.push_str(part);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_name() {
        for (name_, written) in [
            ("math.add", "math=2Eadd"),
            ("h.add", "=68=2Eadd"),
            ("a-b_C9", "a-b_C9"),
            ("urn:x:y", "urn=3Ax=3Ay"),
            ("a*b>c d", "a=2Ab=3Ec=20d"),
            ("=", "=3D"),
            ("ü", "=C3=BC"),
        ] {
            assert_eq!(token(name_), written);
            assert_eq!(name(written), Ok(Some(name_.to_owned())));
        }
    }

    #[test]
    fn a_long_name_is_its_hash() {
        let long = "x".repeat(181);
        let hashed = token(&long);
        assert_eq!(hashed.len(), 54);
        assert_eq!(name(&hashed), Ok(None));
        assert_eq!(token(&"x".repeat(180)).len(), 180);
        // RFC 4648, section 10.
        assert_eq!(base32(b"foobar"), "MZXW6YTBOI");
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in ["=2e", "=41", "a=", "=4", "a.b", "a*", "=FF", "h=AB", "ü"] {
            assert!(name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn subjects_are_checked_here() {
        for good in ["a", "a.b.c", "a.h=A.x"] {
            assert_eq!(check(good, false), Ok(()));
        }
        for bad in ["", ".", "a.", "a..b", "a.*.b", "a.>", "a b", "a\r\nb", "ä"] {
            assert!(check(bad, false).is_err(), "{bad}");
        }
        assert!(check("a.*.>", true).is_ok() && check(">.a", true).is_err());
        assert!(check(&"a.".repeat(16), false).is_err() && check(&"a".repeat(257), false).is_err());
    }

    #[test]
    fn every_subject_is_short_enough() {
        let subjects = Subjects::new(&"p".repeat(32), &"t".repeat(32)).expect("fits");
        let server = ServerName::parse(&"s".repeat(64)).expect("fits");
        for work in [
            Work::Tool(&server, "t".repeat(400).into()),
            Work::Tool(&server, "t".repeat(115).into()),
            Work::Method(&server, "m/".repeat(20).into()),
        ] {
            for subject in [
                subjects.work(&work),
                subjects.instance("0123456789abcdef", &work),
            ] {
                assert_eq!(check(&subject, false), Ok(()), "{}", subject.len());
            }
        }
    }
}
