//! Values that are more than text: durations, sizes, secrets, URLs.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};

/// A duration such as `90s`, `5m` or `1h 30m`, or a number of seconds; `0` or `off` turns a limit off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    /// The limit, where it is not turned off.
    pub(crate) fn limit(self) -> Option<Duration> {
        Some(self.0).filter(|span| !span.is_zero())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

/// Reads a duration from text, or from a number of seconds. What is below zero counts as zero.
struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"90s\", or a number of seconds")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
        if text == "0" || text == "off" {
            return Ok(Span(Duration::ZERO));
        }
        let (is_negative, size) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let parsed = humantime::parse_duration(size).map_err(|error| {
            E::custom(format!("{text:?} is not a duration ({error}); write it like \"90s\" or \"5m\", or \"off\" for no limit"))
        });
        parsed.map(|span| Span(if is_negative { Duration::ZERO } else { span }))
    }

    fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Span, E> {
        Ok(Span(Duration::from_secs(seconds.try_into().unwrap_or(0))))
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Span, E> {
        Ok(Span(Duration::from_secs(seconds)))
    }

    fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<Span, E> {
        let span = Duration::try_from_secs_f64(seconds.max(0.0));
        let wrong = |_| E::custom(format!("{seconds} is not a number of seconds"));
        match seconds.is_nan() {
            true => Err(E::custom("NaN is not a number of seconds")),
            false => span.map(Span).map_err(wrong),
        }
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number"], "description": "A duration such as 90s, 5m or 1h 30m, or a number of seconds; 0, off, and what is below 0 turn a limit off.", "examples": ["90s", "5m", "off", 90]})
    }
}

/// A size such as `64MiB`, or a number of bytes; `0` or `off` turns a limit off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl Size {
    /// What a size is written in.
    const UNITS: [(&str, u64); 4] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("B", 1),
    ];

    /// The limit, where it is not turned off.
    pub(crate) fn limit(self) -> Option<u64> {
        Some(self.0).filter(|size| *size > 0)
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "off" {
            return Some(Self(0));
        }
        let units = Self::UNITS.iter();
        let mut units = units.filter_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
        let (number, bytes) = units.next().unwrap_or((text, 1));
        let number: u64 = number.trim().parse().ok()?;
        number.checked_mul(bytes).map(Self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a size is a number of bytes or a text such as \"64MiB\""
        )]
        enum Written {
            Bytes(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => Ok(Self(bytes)),
            Written::Text(text) => Self::parse(&text).ok_or_else(|| {
                D::Error::custom(format!("{text:?} is not a size; write it like \"64MiB\" or \"1GiB\", or \"off\" for no limit"))
            }),
        }
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "integer"], "minimum": 0, "description": "A size such as 64MiB or 1GiB, or a number of bytes; 0 or off turns a limit off.", "examples": ["64MiB", "1GiB", 1_048_576, "off"]})
    }
}

/// Text that is not shown. In a file of ours `env:NAME` and `file:PATH` name where it is kept.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// The value itself.
    Literal(String),
    /// The value of an environment variable.
    Variable(String),
    /// The content of a file, without its last line end.
    File(String),
}

impl Secret {
    /// The secret itself. An error names the place, never the value.
    pub(crate) fn reveal(&self) -> Result<String, String> {
        match self {
            Self::Literal(text) => Ok(text.clone()),
            Self::Variable(name) => std::env::var(name)
                .map_err(|_| format!("the environment variable {name} is not set")),
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| format!("the secret file {path} cannot be read: {error}")),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(match text.split_once(':') {
            Some(("env", name)) => Self::Variable(name.to_owned()),
            Some(("file", path)) => Self::File(path.to_owned()),
            _ => Self::Literal(text),
        })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("(hidden)"),
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
        }
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "env:NAME or file:PATH names where the value is kept; other text is the value itself.", "examples": ["env:TOKEN", "file:/run/secrets/token"]})
    }
}

/// An http or https URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url(pub(crate) http::Uri);

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is not a URL of a server: {why}");
        let url: http::Uri = text
            .parse()
            .map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
        match (url.scheme_str(), url.authority()) {
            (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => Err(
                wrong("credentials do not belong into it; use `headers` or `bearer`"),
            ),
            (Some("http" | "https"), Some(_)) => Ok(Self(url)),
            _ => Err(wrong("it must begin with http:// or https://")),
        }
    }
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Url {
    fn schema_name() -> Cow<'static, str> {
        "Url".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "uri", "pattern": "^https?://"})
    }
}
