//! The capability API of a configuration: URNs, claims, the sidecar, peers.

use std::collections::HashMap;
use std::sync::Arc;

use http::Uri;
use toolbus_doors::capability::{Api, Ledger, Network, Peer, SIDECAR, Settings};
use toolbus_gateway::Gateway;
use toolbus_gateway::policy::{DEFAULT_IN_FLIGHT, Rules};
use toolbus_model::{Caller, Claims, ServerName};
use toolbus_protocol::capability::Parties;
use toolbus_protocol::urn::{Register, Urn};

use crate::config::{self, Config};

/// The variable that says where the sidecar is, where the configuration does not.
const SIDECAR_VARIABLE: &str = "PYTHON_SIDECAR_URL";

/// What this gateway is called where nothing is configured.
const INSTANCE: &str = "toolbus";

/// The API over this gateway.
pub(crate) fn api(
    config: &Config,
    gateway: &Arc<Gateway>,
    ledger: &Ledger,
) -> Result<Arc<Api>, String> {
    Ok(Api::new(
        Arc::clone(gateway),
        settings(config)?,
        ledger.clone(),
    ))
}

/// What this gateway is called by its peers.
pub(super) fn instance(config: &Config) -> String {
    let instance = config.federation.instance.as_deref();
    instance.unwrap_or(INSTANCE).to_owned()
}

/// As whom a peer calls.
fn caller_of(peer: &str) -> String {
    format!("federation.{peer}")
}

/// What can be known to be wrong of it beforehand.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    settings(config)?;
    super::abroad::check(config)
}

fn settings(config: &Config) -> Result<Settings, String> {
    let section = &config.capabilities;
    let in_section = |error| format!("[capabilities] {error}");
    let trusted = section
        .trusted_peers
        .iter()
        .map(|peer| Network::parse(peer));
    let trusted: Vec<Network> = trusted.collect::<Result<_, _>>().map_err(in_section)?;
    let is_tenant = |caller: &config::Caller| caller.tenant.is_some();
    Ok(Settings {
        strict: section.strict,
        timeout: section.limit(),
        tenants: !trusted.is_empty() || config.callers.values().any(is_tenant),
        trusted,
        sidecar: sidecar(config)?,
        bindings: bindings(config)?,
        instance: instance(config),
        peers: peers(config)?,
        abroad: abroad(config)?,
    })
}

fn sidecar(config: &Config) -> Result<Uri, String> {
    let (place, url) = match (
        &config.capabilities.sidecar,
        std::env::var(SIDECAR_VARIABLE),
    ) {
        (Some(url), _) => ("[capabilities] sidecar", url.0.clone()),
        (None, Ok(text)) if !text.is_empty() => {
            let url = config::Url::parse(&text);
            (
                SIDECAR_VARIABLE,
                url.map_err(|error| format!("{SIDECAR_VARIABLE}: {error}"))?
                    .0,
            )
        }
        (None, _) => return Ok(Uri::from_static(SIDECAR)),
    };
    if url.scheme_str() != Some("http") {
        return Err(format!(
            "{place}: a sidecar runs beside this program and is asked by http://, without TLS"
        ));
    }
    Ok(url)
}

/// The URNs that the configuration gives to tools.
fn bindings(config: &Config) -> Result<Vec<(Urn, ServerName, String)>, String> {
    let mut taken = Register::default();
    let each = config.capabilities.urns.iter().map(|(text, binding)| {
        let wrong = |why: String| format!("[capabilities.{text:?}] {why}");
        let urn = if config.capabilities.strict {
            Urn::parse_strict(text)
        } else {
            Urn::parse(text)
        };
        let urn = urn.map_err(wrong)?;
        taken.take(urn.clone(), ()).map_err(wrong)?;
        let (server, tool) = binding.tool.split_once('.').ok_or_else(|| {
            wrong(format!(
                "tool = {:?}: write it as \"server.tool\"",
                binding.tool
            ))
        })?;
        Ok((
            urn,
            ServerName::parse(server).map_err(wrong)?,
            tool.to_owned(),
        ))
    });
    each.collect()
}

/// What a peer calls itself.
pub(super) fn instance_of<'c>(name: &'c str, peer: &'c config::Peer) -> &'c str {
    peer.instance.as_deref().unwrap_or(name)
}

/// The agreement with a peer.
pub(super) fn agreement(name: &str, peer: &config::Peer) -> Result<String, String> {
    let agreement = peer.agreement.reveal();
    let agreement =
        agreement.map_err(|error| format!("[federation.peers.{name}] agreement: {error}"))?;
    if agreement.is_empty() {
        return Err(format!("[federation.peers.{name}] agreement: it is empty"));
    }
    Ok(agreement)
}

fn peers(config: &Config) -> Result<HashMap<String, Peer>, String> {
    let each = config.federation.peers.iter().map(|(name, peer)| {
        let known = Peer {
            caller: caller_of(name),
            agreement: agreement(name, peer)?,
            shares: peer.shares.clone(),
            tenant: peer.tenant.clone(),
        };
        Ok((instance_of(name, peer).to_owned(), known))
    });
    each.collect()
}

/// Between whom the calls of servers that stand for peers are made.
fn abroad(config: &Config) -> Result<HashMap<ServerName, Parties>, String> {
    let each = config.federation.peers.iter().map(|(name, peer)| {
        let parties = Parties {
            agreement: agreement(name, peer)?,
            source: instance(config),
            destination: instance_of(name, peer).to_owned(),
        };
        Ok((ServerName::parse(name)?, parties))
    });
    each.collect()
}

/// The rules of peers: what they may call is said in URNs, where they ask.
pub(super) fn rules_of_peers(config: &Config) -> impl Iterator<Item = (Caller, Rules)> {
    let names = config.federation.peers.keys().map(|name| caller_of(name));
    names.map(|name| {
        let rules = Rules::new(&name, None, Vec::new(), DEFAULT_IN_FLIGHT);
        (Caller::named(&name), rules)
    })
}

/// A configured caller, and what is known of it.
pub(super) fn caller(name: &str, caller: &config::Caller) -> Caller {
    Caller::named(name).with_claims(Claims {
        tenant: caller.tenant.clone(),
        spiffe_id: None,
    })
}
