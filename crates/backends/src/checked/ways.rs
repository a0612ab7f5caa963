//! How many ways lead through a schema at one and the same value: what goes in circles, or multiplies, is refused.

use super::schema::{Keyword, Node, NodeId};

/// Most schemas that one value may be held against. The largest of real ones, unions of unions, have some hundreds.
const MAX_WAYS: u64 = 5_000;

/// Longest chain of schemas at one value.
const MAX_CHAIN: usize = 64;

/// What is known of a node.
#[derive(Clone, Copy)]
enum Seen {
    No,
    /// Its parts are being looked at.
    Open,
    Done {
        ways: u64,
        chain: usize,
    },
}

/// Refuses circles and explosions.
pub(super) fn check(nodes: &[Node]) -> Result<(), String> {
    let mut seen = vec![Seen::No; nodes.len()];
    for start in 0..nodes.len() {
        // By hand, so that a long chain costs no stack.
        let mut path = vec![start];
        while let Some(&at) = path.last() {
            let parts = parts(&nodes[at]);
            match seen[at] {
                Seen::Done { .. } => {
                    path.pop();
                }
                Seen::No => {
                    seen[at] = Seen::Open;
                    for part in parts {
                        match seen[part] {
                            Seen::Open => return Err("a `$ref` in it goes in circles".to_owned()),
                            Seen::No => path.push(part),
                            Seen::Done { .. } => {}
                        }
                    }
                }
                Seen::Open => {
                    seen[at] = sum(&parts, &seen)?;
                    path.pop();
                }
            }
        }
    }
    Ok(())
}

fn sum(parts: &[NodeId], seen: &[Seen]) -> Result<Seen, String> {
    let mut total = (1_u64, 0);
    for part in parts {
        match seen[*part] {
            Seen::Done { ways, chain } => {
                total = (total.0.saturating_add(ways), total.1.max(chain));
            }
            Seen::No | Seen::Open => return Err("a `$ref` in it goes in circles".to_owned()),
        }
    }
    let (ways, chain) = (total.0, total.1 + 1);
    if ways > MAX_WAYS {
        return Err(format!(
            "one value would have to be held against more than {MAX_WAYS} schemas"
        ));
    }
    if chain > MAX_CHAIN {
        return Err(format!(
            "more than {MAX_CHAIN} schemas follow each other at one value"
        ));
    }
    Ok(Seen::Done { ways, chain })
}

/// The schemas that are held against the same value.
fn parts(node: &Node) -> Vec<NodeId> {
    let mut parts = Vec::new();
    for keyword in &node.keywords {
        match keyword {
            Keyword::AllOf(all) | Keyword::AnyOf(all) | Keyword::OneOf(all) => parts.extend(all),
            Keyword::Not(one) | Keyword::Ref(one) | Keyword::DynamicRef(one, _) => parts.push(*one),
            Keyword::If(test, then, otherwise) => {
                parts.push(*test);
                parts.extend(then.iter().chain(otherwise));
            }
            Keyword::DependentSchemas(all) => parts.extend(all.iter().map(|(_, part)| part)),
            _ => {}
        }
    }
    parts
}
