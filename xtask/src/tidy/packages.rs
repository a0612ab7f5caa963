//! The rules about crates: licences, versions, sources, and how many the default build takes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::graph::{Graph, Package};
use super::licence::is_met;
use super::rules::{Rules, Skip};
use crate::place::{Place, cargo};
use crate::run::capture;
use crate::say::say;

/// The default build stays below this many crates, so that a build from clean stays a matter of minutes.
const MAX_PACKAGES: usize = 350;

/// Crates whose licence no list allows.
pub(super) fn licences(graph: &Graph, rules: &Rules) -> Vec<String> {
    let breach = |package: &Package| {
        let expression = package.license.as_deref().unwrap_or_default();
        let excepted = rules
            .licenses
            .exceptions
            .iter()
            .filter(|one| one.krate == package.name);
        let allowed: Vec<&String> = excepted
            .flat_map(|one| &one.allow)
            .chain(&rules.licenses.allow)
            .collect();
        let is_allowed = |licence: &str| allowed.iter().any(|known| *known == licence);
        (!is_met(expression, &is_allowed)).then(|| {
            format!(
                "{} {} is under {expression:?}: allow it in deny.toml or use another crate",
                package.name, package.version
            )
        })
    };
    graph
        .all()
        .filter(|package| package.source.is_some())
        .filter_map(breach)
        .collect()
}

/// Crates in more than one version, and exceptions that nothing needs any more.
pub(super) fn duplicates(graph: &Graph, rules: &Rules) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in graph.shipped() {
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    versions.retain(|_, found| found.len() > 1);
    let is_skipped =
        |name: &str, version: &str| rules.bans.skip.iter().any(|skip| skip.names(name, version));
    let mut breaches = Vec::new();
    for (name, found) in &versions {
        let counted = found
            .iter()
            .filter(|version| !is_skipped(name, version))
            .count();
        if counted > 1 {
            let found: Vec<_> = found.iter().copied().collect();
            breaches.push(format!(
                "{name} is here as {}: bring the versions together (`cargo tree -i {name}@{}` tells who asks), \
                 or list one under `skip` in deny.toml with the reason",
                found.join(" and "),
                found[0]
            ));
        }
    }
    let is_idle = |skip: &&Skip| {
        let mut pairs = versions
            .iter()
            .flat_map(|(name, found)| found.iter().map(move |version| (name, version)));
        !pairs.any(|(name, version)| skip.names(name, version))
    };
    let idle = rules.bans.skip.iter().filter(is_idle);
    breaches.extend(idle.map(|skip| {
        format!(
            "{} is no duplicate any more: take it off `skip` in deny.toml",
            skip.krate
        )
    }));
    breaches
}

/// Crates from elsewhere than the registry.
pub(super) fn sources(graph: &Graph, rules: &Rules) -> Vec<String> {
    let is_allowed = |source: &str| {
        let registry = source
            .strip_prefix("registry+")
            .or_else(|| source.strip_prefix("sparse+"));
        let git = source
            .strip_prefix("git+")
            .and_then(|url| url.split(['?', '#']).next());
        registry.is_some_and(|url| {
            rules
                .sources
                .allow_registry
                .iter()
                .any(|known| known == url)
        }) || git.is_some_and(|url| rules.sources.allow_git.iter().any(|known| known == url))
    };
    let breach = |package: &Package| {
        let source = package
            .source
            .as_deref()
            .filter(|source| !is_allowed(source))?;
        Some(format!(
            "{} {} comes from {source}: use a release of the registry",
            package.name, package.version
        ))
    };
    graph.all().filter_map(breach).collect()
}

/// Whether the default build takes too many crates.
pub(super) fn tree(place: &Place) -> Result<Vec<String>> {
    let mut tree = cargo();
    tree.args("tree -p toolbus -e normal,build --prefix none".split(' '));
    let text = capture(tree.current_dir(place.root()))?;
    let crates: BTreeSet<Vec<&str>> = text
        .lines()
        .map(|line| line.split(' ').take(2).collect())
        .collect();
    say(format_args!(
        "tidy: the default build takes {} crates",
        crates.len()
    ));
    if crates.len() < MAX_PACKAGES {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "the default build takes {} crates; it must stay below {MAX_PACKAGES}",
        crates.len()
    )])
}
