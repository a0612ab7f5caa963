//! Names and ids as types of their own, so that they cannot be mistaken for each other.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use uuid::Uuid;

/// Names one call in records, errors and traces: a UUIDv7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(Uuid);

impl CallId {
    /// A new id.
    #[expect(clippy::new_without_default, reason = "an id is made, not defaulted")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id that is written like this.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The configured name of a place of tools: 1 to 64 of `[A-Za-z0-9_-]`, so that `server.tool` splits at the first dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerName(Arc<str>);

impl ServerName {
    /// Checks a name.
    pub fn parse(name: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=64).contains(&name.len()) && name.bytes().all(fits) {
            return Ok(Self(name.into()));
        }
        Err(format!(
            "server name {name:?}: use 1 to 64 letters, digits, '_' or '-'"
        ))
    }

    /// The nearest name that passes [`ServerName::parse`].
    pub fn from_foreign(name: &str) -> Self {
        let fits = |c: char| {
            if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
                c
            } else {
                '_'
            }
        };
        let name: String = name.chars().take(64).map(fits).collect();
        Self(if name.is_empty() {
            "server".into()
        } else {
            name.into()
        })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who calls, as far as a door could establish it. Two callers are the same where their names are.
#[derive(Debug, Clone)]
pub struct Caller {
    name: Arc<str>,
    claims: Option<Arc<Claims>>,
}

/// What is known for certain of a caller besides its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// For whom it calls.
    pub tenant: Option<String>,
    /// The workload that it is (SPIFFE).
    pub spiffe_id: Option<String>,
}

impl Caller {
    /// A caller of this configured name.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            claims: None,
        }
    }

    /// The one caller there is where no callers are configured.
    pub fn local() -> Self {
        Self::named("local")
    }

    /// The same caller, of whom more is known.
    #[must_use]
    pub fn with_claims(self, claims: Claims) -> Self {
        Self {
            claims: (claims != Claims::default()).then(|| Arc::new(claims)),
            ..self
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// What is known for certain besides the name.
    pub fn claims(&self) -> Option<&Claims> {
        self.claims.as_deref()
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Caller {}

impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// A revision of MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2024-11-05
    V2024_11_05,
    /// 2025-03-26
    V2025_03_26,
    /// 2025-06-18
    V2025_06_18,
    /// 2025-11-25
    V2025_11_25,
    /// 2026-07-28
    V2026_07_28,
}

/// The two families of revisions: sessions opened by `initialize`, or every request on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// 2025-11-25 and older.
    Legacy,
    /// 2026-07-28 and newer.
    Modern,
}

impl Revision {
    /// Every revision, newest first.
    pub const ALL: [Self; 5] = [
        Self::V2026_07_28,
        Self::V2025_11_25,
        Self::V2025_06_18,
        Self::V2025_03_26,
        Self::V2024_11_05,
    ];

    /// The newest revision of the legacy era, which answers clients that ask for one we do not know.
    pub const NEWEST_LEGACY: Self = Self::V2025_11_25;

    /// The revision written as its date.
    pub fn parse(date: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|revision| revision.as_str() == date)
    }

    /// The date.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The family it belongs to.
    pub fn era(self) -> Era {
        if self < Self::V2026_07_28 {
            Era::Legacy
        } else {
            Era::Modern
        }
    }
}

/// `*` stands for any text. Takes at most pattern times text steps.
pub fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((star_p, star_t)) = star {
            star = Some((star_p, star_t + 1));
            (p, t) = (star_p + 1, star_t + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}
