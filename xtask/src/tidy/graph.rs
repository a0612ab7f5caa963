//! Every crate of the workspace and below it, as `cargo metadata` resolves them for the platforms that count.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::place::{Place, cargo};
use crate::run::capture;

/// One crate in one version.
#[derive(Clone, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    id: String,
    pub(super) license: Option<String>,
    /// Where it comes from; `None` for a path.
    pub(super) source: Option<String>,
}

/// The crates that count.
pub(super) struct Graph {
    packages: BTreeMap<String, Package>,
    /// Those that are reached without a dev-dependency.
    shipped: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// `dev`, `build`, or nothing for a normal one.
    kind: Option<String>,
}

impl Graph {
    /// Asks cargo for each of these platforms.
    pub(super) fn read(place: &Place, targets: &[String]) -> Result<Self> {
        let mut graph = Self {
            packages: BTreeMap::new(),
            shipped: BTreeSet::new(),
        };
        for target in targets {
            let mut metadata = cargo();
            metadata.args([
                "metadata",
                "--format-version",
                "1",
                "--filter-platform",
                target,
            ]);
            let text = capture(metadata.current_dir(place.root()))?;
            graph.add(serde_json::from_str(&text).context("cannot read `cargo metadata`")?);
        }
        Ok(graph)
    }

    /// Every crate, those of the workspace too.
    pub(super) fn all(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    /// Every crate but those that only tests need.
    pub(super) fn shipped(&self) -> impl Iterator<Item = &Package> {
        self.shipped.iter().filter_map(|id| self.packages.get(id))
    }

    fn add(&mut self, metadata: Metadata) {
        let nodes: BTreeMap<_, _> = metadata
            .resolve
            .nodes
            .iter()
            .map(|node| (&node.id, node))
            .collect();
        let mut waiting: Vec<&String> = metadata.workspace_members.iter().collect();
        let mut shipped = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            let Some(node) = nodes.get(id).filter(|_| shipped.insert(id.clone())) else {
                continue;
            };
            let needed = node
                .deps
                .iter()
                .filter(|dependency| dependency.is_shipped());
            waiting.extend(needed.map(|dependency| &dependency.pkg));
        }
        self.shipped.append(&mut shipped);
        let resolved = metadata
            .packages
            .iter()
            .filter(|package| nodes.contains_key(&package.id));
        self.packages
            .extend(resolved.map(|package| (package.id.clone(), package.clone())));
    }
}

impl Dependency {
    fn is_shipped(&self) -> bool {
        self.dep_kinds
            .iter()
            .any(|kind| kind.kind.as_deref() != Some("dev"))
    }
}
