//! Holds the rules that no compiler holds: what may come into the tree, how large it may grow, and how its files look.

mod files;
mod graph;
mod licence;
mod packages;
mod rules;

use anyhow::Result;

use crate::place::Place;
use crate::say::say;
use graph::Graph;
use rules::Rules;

/// How many rules held and how many did not.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

/// Checks every rule and prints each breach with its remedy.
pub(crate) fn tidy(place: &Place) -> Result<Tally> {
    let rules = Rules::read(&place.root().join("deny.toml"))?;
    let graph = Graph::read(place, &rules.graph.targets)?;
    let files = files::Files::read(place)?;
    let checks = [
        ("licences", packages::licences(&graph, &rules)),
        (
            "one version of each crate",
            packages::duplicates(&graph, &rules),
        ),
        ("sources", packages::sources(&graph, &rules)),
        ("size of the tree", packages::tree(place)?),
        ("files open with what they are for", files.openings()),
        ("length of files", files.lengths()),
        ("nothing of one machine", files.machine_words()),
    ];
    let mut tally = Tally::default();
    for (rule, breaches) in checks {
        if breaches.is_empty() {
            tally.passed += 1;
            say(format_args!("tidy: {rule}: held"));
            continue;
        }
        tally.failed += 1;
        say(format_args!("tidy: {rule}: BROKEN"));
        for breach in breaches {
            say(format_args!("    {breach}"));
        }
    }
    say(format_args!(
        "tidy: {} rules held, {} broken",
        tally.passed, tally.failed
    ));
    Ok(tally)
}
