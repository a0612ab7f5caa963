//! How a NATS server is reached, and as whom.

use std::fmt;
use std::path::PathBuf;

use crate::bus::BusError;

/// The default port.
const PORT: u16 = 4222;

/// How a NATS server is reached, and as whom.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The servers: `nats://host:port`, `tls://host:port`, or without a scheme. Another one is tried when one is away.
    /// A user and a password, or a token, in front of the host count for that server, before [`Settings::credentials`].
    pub servers: Vec<String>,
    /// What this connection is called in the server's lists.
    pub name: String,
    /// As whom.
    pub credentials: Credentials,
    /// What TLS needs. It is used where the server asks for it, where the scheme is `tls`, and where any of this is set.
    pub tls: Tls,
    /// What inboxes begin with; `_INBOX` where it is empty. A user whose permissions name one subscribes to nothing else.
    pub inbox_prefix: String,
}

/// Who connects.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    None,
    /// Whoever has the token.
    Token(String),
    /// A user and a password.
    User(String, String),
    /// The holder of an NKEY: the seed (`SU...`), or the file that holds it, read at each connection.
    Nkey(Source),
    /// A user of an operator's account: a `.creds` file, which holds a JWT and a seed, read at each connection.
    Creds(Source),
}

/// A secret, or the file it is in.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// The file.
    File(PathBuf),
    /// The text.
    Text(String),
}

/// What TLS needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The certificates of those who may vouch for the server, as PEM; else the system's.
    pub ca: Option<PathBuf>,
    /// This side's certificate and its key, as PEM, for servers that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The server speaks TLS from the first byte on (`handshake_first`).
    pub is_first: bool,
}

/// One server's address.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) needs_tls: bool,
    pub(super) credentials: Option<(String, Option<String>)>,
}

impl Source {
    /// The text itself.
    pub(super) fn read(&self) -> Result<String, BusError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => std::fs::read_to_string(path).map_err(|error| {
                BusError(format!(
                    "the file {} cannot be read: {error}",
                    path.display()
                ))
            }),
        }
    }
}

impl Tls {
    pub(super) fn is_wanted(&self) -> bool {
        self.is_first || self.ca.is_some() || self.identity.is_some()
    }
}

impl Address {
    /// `nats://user:password@host:4222`, of which everything but the host may be missing.
    pub(super) fn parse(text: &str) -> Result<Self, BusError> {
        let shown = || text.rsplit('@').next().unwrap_or_default();
        let wrong = |why: &str| BusError(format!("NATS server {:?}: {why}", shown()));
        let (needs_tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("nats", rest)) => (false, rest),
            Some(("tls", rest)) => (true, rest),
            Some(_) => return Err(wrong("use nats:// or tls://")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, place) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((who, place)) => (
                Some(
                    credentials(who)
                        .ok_or_else(|| wrong("what stands before @ is not user:password"))?,
                ),
                place,
            ),
        };
        let (host, port) = place_of(place).ok_or_else(|| wrong("use host:port"))?;
        Ok(Self {
            host: host.to_owned(),
            port,
            needs_tls,
            credentials,
        })
    }
}

fn place_of(place: &str) -> Option<(&str, u16)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':'))
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = port.map_or(Some(PORT), |port| port.parse().ok())?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
    (!host.is_empty() && host.bytes().all(fits)).then_some((host, port))
}

fn credentials(who: &str) -> Option<(String, Option<String>)> {
    match who.split_once(':') {
        Some((user, password)) => Some((decoded(user)?, Some(decoded(password)?))),
        None => Some((decoded(who)?, None)),
    }
}

/// RFC 3986, section 2.1.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

// Secrets are not shown, wherever these end up.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token",
            Self::User(..) => "User",
            Self::Nkey(_) => "Nkey",
            Self::Creds(_) => "Creds",
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Text(_) => f.write_str("Text"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, shown, needs_tls) in [
            ("nats://a.b:1", "a.b:1", false),
            ("tls://a", "a:4222", true),
            ("127.0.0.1", "127.0.0.1:4222", false),
            ("nats://[::1]:5/", "[::1]:5", false),
            ("[::1]", "[::1]:4222", false),
        ] {
            let address = Address::parse(text).expect(text);
            assert_eq!(
                (address.to_string().as_str(), address.needs_tls),
                (shown, needs_tls)
            );
        }
        let address = Address::parse("nats://me:p%40ss@h").expect("an address");
        assert_eq!(
            address.credentials,
            Some(("me".into(), Some("p@ss".into())))
        );
        let address = Address::parse("nats://s3cr3t@h").expect("an address");
        assert_eq!(address.credentials, Some(("s3cr3t".into(), None)));
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_secrets() {
        for text in [
            "ws://h",
            "nats://",
            "h:99999",
            "h:x",
            "a b",
            "nats://u:s3cr3t@",
            "nats://s3cr3t%zz@h",
        ] {
            let error = Address::parse(text).expect_err(text).to_string();
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }
}
