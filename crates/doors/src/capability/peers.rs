//! For whom a caller calls: its own claims, or those that a trusted proxy wrote.

use std::net::IpAddr;

use http::HeaderMap;
use toolbus_model::Caller;
use toolbus_protocol::capability::{CLAIMS_HEADER, read_claims};

use super::{Problem, Settings};

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u32,
}

impl Network {
    /// Reads an address, or a network such as `10.0.0.0/8`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is not an address such as 10.0.0.7, or a network such as 10.0.0.0/8")
        };
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base, Some(bits)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| wrong())?,
            None => most,
        };
        if bits > most {
            return Err(wrong());
        }
        Ok(Self { base, bits })
    }

    /// An address is one of it.
    pub fn holds(&self, address: IpAddr) -> bool {
        // An IPv4 client of a listener for both families has an address of the other one.
        match (self.base.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let shift = 32_u32.saturating_sub(self.bits);
                let cut = |value: u32| value.checked_shr(shift).unwrap_or(0);
                cut(base.to_bits()) == cut(address.to_bits())
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let shift = 128_u32.saturating_sub(self.bits);
                let cut = |value: u128| value.checked_shr(shift).unwrap_or(0);
                cut(base.to_bits()) == cut(address.to_bits())
            }
            _ => false,
        }
    }
}

/// The caller with the claims that count.
pub(crate) fn establish(
    settings: &Settings,
    caller: Caller,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
) -> Result<Caller, Box<Problem>> {
    let mut said = headers.get_all(CLAIMS_HEADER).iter();
    let Some(first) = said.next() else {
        return Ok(caller);
    };
    let refuse = |why: String| Err(Problem::forbidden("untrusted-claims", why));
    let is_trusted = |peer: IpAddr| settings.trusted.iter().any(|network| network.holds(peer));
    if !peer.is_some_and(is_trusted) {
        let who = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        return refuse(format!(
            "{CLAIMS_HEADER} is taken from the peers in `trusted_peers` of [capabilities] only; this one is {who}"
        ));
    }
    if said.next().is_some() {
        return refuse(format!("{CLAIMS_HEADER} stands twice"));
    }
    let claims = first.to_str().map_err(|_| "it is not ASCII".to_owned());
    let claims = match claims.and_then(read_claims) {
        Ok(claims) => claims,
        Err(why) => return refuse(why),
    };
    let own = caller.claims().and_then(|own| own.tenant.as_deref());
    if own.is_some_and(|own| claims.tenant.as_deref() != Some(own)) {
        let why = format!("{CLAIMS_HEADER} names another tenant than the caller's own");
        return Err(Problem::forbidden("tenant-mismatch", why));
    }
    Ok(caller.with_claims(claims))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let holds = |network: &str, address: &str| {
            let network = Network::parse(network).expect("a network");
            network.holds(address.parse().expect("an address"))
        };
        assert!(holds("10.0.0.0/8", "10.1.2.3") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("127.0.0.1", "127.0.0.1") && !holds("127.0.0.1", "127.0.0.2"));
        assert!(holds("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "fe80::1"));
        assert!(holds("::/0", "fe80::1") && holds("::1", "::1"));
        for bad in [
            "",
            "x",
            "10.0.0.0/33",
            "10.0.0.0/",
            "::1/129",
            "10.0.0.0/-1",
        ] {
            assert!(Network::parse(bad).is_err(), "{bad}");
        }
    }
}
