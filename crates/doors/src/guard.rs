//! Who may come in: Host and Origin against DNS rebinding, bearer tokens for callers.

use std::collections::HashMap;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, Uri};
use sha2::{Digest, Sha256};
use toolbus_model::{Caller, Error};

/// What a listener lets in.
#[derive(Debug, Default)]
pub struct Access {
    /// Callers by the SHA-256 of their tokens: looking one up takes no time that depends on a secret.
    tokens: HashMap<[u8; 32], Caller>,
    hosts: Vec<String>,
    origins: Vec<String>,
    is_public: bool,
}

/// Why a request is turned away at the door.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// A Host or Origin that is none of ours.
    Forbidden(String),
    /// No token, or one that nobody has.
    Unauthenticated(Error),
}

impl Access {
    /// Access to a listener. `is_public`: it listens on more than loopback, where any Host may lead to it.
    pub fn new(tokens: impl IntoIterator<Item = (String, Caller)>, is_public: bool) -> Self {
        let tokens = tokens
            .into_iter()
            .map(|(token, caller)| (Sha256::digest(token.as_bytes()).into(), caller));
        Self {
            tokens: tokens.collect(),
            is_public,
            ..Self::default()
        }
    }

    /// Host names and origins that are let in besides the loopback ones.
    #[must_use]
    pub fn allowing(mut self, hosts: Vec<String>, origins: Vec<String>) -> Self {
        self.hosts = hosts
            .into_iter()
            .map(|host| host.to_ascii_lowercase())
            .collect();
        self.origins = origins;
        self
    }

    /// Callers have to show a token.
    pub fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Checks where the request believes to be, and where it comes from.
    pub(crate) fn check_place(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let forbidden = |what: &str, value: &str| {
            Refusal::Forbidden(format!("{what} {value:?} is not allowed here"))
        };
        let host = only(headers, HOST).ok_or_else(|| forbidden("Host", "(missing or repeated)"))?;
        if !self.knows_host(host_of(host)) {
            return Err(forbidden("Host", host));
        }
        if !headers.contains_key(ORIGIN) {
            return Ok(());
        }
        let origin = only(headers, ORIGIN).ok_or_else(|| forbidden("Origin", "(repeated)"))?;
        let parsed: Option<Uri> = origin.parse().ok();
        let its_host = parsed
            .as_ref()
            .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")))
            .and_then(Uri::host);
        let ours = its_host.is_some_and(|its| {
            is_loopback(its) && !self.is_public
                || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(its))
        });
        if ours || self.origins.iter().any(|known| known == origin) {
            Ok(())
        } else {
            Err(forbidden("Origin", origin))
        }
    }

    fn knows_host(&self, host: &str) -> bool {
        let listed = self
            .hosts
            .iter()
            .any(|known| known.eq_ignore_ascii_case(host));
        listed || is_loopback(host) || (self.is_public && self.hosts.is_empty())
    }

    /// Finds out who calls.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        if self.tokens.is_empty() {
            return Ok(Caller::local());
        }
        let refuse = |why: &str| Refusal::Unauthenticated(Error::Unauthenticated(why.to_owned()));
        let header = only(headers, AUTHORIZATION)
            .ok_or_else(|| refuse("send `Authorization: Bearer <token>`"))?;
        let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
        let digest: [u8; 32] = Sha256::digest(token.trim().as_bytes()).into();
        let caller = self
            .tokens
            .get(&digest)
            .filter(|_| scheme.eq_ignore_ascii_case("bearer"));
        caller
            .cloned()
            .ok_or_else(|| refuse("the bearer token is not known"))
    }
}

fn only(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The host without its port.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(authority, |(host, _)| host),
        None => authority
            .split_once(':')
            .map_or(authority, |(host, _)| host),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(k, v)| {
                (
                    http::HeaderName::from_static(k),
                    v.parse().expect("a value"),
                )
            })
            .collect()
    }

    #[test]
    fn only_loopback_names_lead_to_a_loopback_listener() {
        let access = Access::new([], false);
        for host in [
            "localhost",
            "localhost:7800",
            "127.0.0.1:1",
            "127.1.2.3",
            "[::1]:7800",
            "LOCALHOST",
        ] {
            assert_eq!(
                access.check_place(&headers(&[("host", host)])),
                Ok(()),
                "{host}"
            );
        }
        for host in [
            "evil.example.com",
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "10.0.0.1",
            "",
            "[::2]",
        ] {
            assert!(
                access.check_place(&headers(&[("host", host)])).is_err(),
                "{host}"
            );
        }
        assert!(access.check_place(&HeaderMap::new()).is_err());
        let twice = headers(&[("host", "localhost"), ("host", "localhost")]);
        assert!(access.check_place(&twice).is_err());
    }

    #[test]
    fn origins_must_be_ours() {
        let access = Access::new([], false)
            .allowing(vec!["tools.example".into()], vec!["vscode://x".into()]);
        let check = |origin: &str| {
            access
                .check_place(&headers(&[("host", "localhost"), ("origin", origin)]))
                .is_ok()
        };
        assert!(
            check("http://localhost:5173")
                && check("https://[::1]")
                && check("http://tools.example")
                && check("vscode://x")
        );
        assert!(
            !check("http://evil.example")
                && !check("null")
                && !check("file://localhost")
                && !check("")
        );
    }

    #[test]
    fn tokens_name_callers() {
        let access = Access::new([("t0ken".to_owned(), Caller::named("ci"))], true);
        let who = |value: &str| {
            access
                .authenticate(&headers(&[("authorization", value)]))
                .ok()
        };
        assert_eq!(who("Bearer t0ken"), Some(Caller::named("ci")));
        assert_eq!(who("bearer t0ken"), Some(Caller::named("ci")));
        assert_eq!(who("Basic t0ken"), None);
        assert_eq!(who("Bearer t0ke"), None);
        assert_eq!(who("Bearer"), None);
        assert!(access.authenticate(&HeaderMap::new()).is_err());
    }
}
