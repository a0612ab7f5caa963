//! Check by check: what a scenario answered directly, and what was lost of it on the way through the gateway.

use std::collections::BTreeMap;

use super::suite::{Check, Status};

/// What each check that held directly became through the gateway, for those that are worse or gone.
pub(super) fn losses(direct: &[Check], through: &[Check]) -> Vec<String> {
    let through = by_occurrence(through);
    let held = by_occurrence(direct).into_iter();
    held.filter(|(_, check)| check.status > Status::Warning)
        .filter_map(|(place, check)| {
            let (id, number) = place;
            let name = match number {
                1 => id.to_owned(),
                number => format!("{id} #{number}"),
            };
            let before = check.status.name();
            match through.get(&place) {
                None => Some(format!("{name}: {before} directly, missing here")),
                Some(after) if after.status < check.status => {
                    let after = after.status.name();
                    Some(format!("{name}: {before} directly, {after} here"))
                }
                Some(_) => None,
            }
        })
        .collect()
}

/// The checks of a scenario by their name and by how often it has come before, counted from 1.
fn by_occurrence(checks: &[Check]) -> BTreeMap<(&str, usize), &Check> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let placed = checks.iter().map(|check| {
        let number = seen.entry(&check.id).or_default();
        *number += 1;
        ((check.id.as_str(), *number), check)
    });
    placed.collect()
}

#[cfg(test)]
mod tests {
    use super::losses;
    use crate::conformance::suite::{Check, Details, Status};

    fn checks(checks: &[(&str, Status)]) -> Vec<Check> {
        let check = |(id, status): &(&str, Status)| Check {
            id: (*id).to_owned(),
            status: *status,
            error: None,
            details: Details::default(),
        };
        checks.iter().map(check).collect()
    }

    #[test]
    fn what_held_directly_must_hold_through_the_gateway() {
        use Status::{Failure, Info, Skipped, Success, Warning};
        let direct = checks(&[
            ("kept", Success),
            ("twice", Success),
            ("twice", Success),
            ("gone", Info),
            ("skipped", Success),
            ("warned", Success),
            ("bad anyway", Failure),
            ("better", Skipped),
        ]);
        let through = checks(&[
            ("kept", Success),
            ("twice", Success),
            ("twice", Failure),
            ("skipped", Skipped),
            ("warned", Warning),
            ("better", Success),
            ("new", Failure),
        ]);
        let expected = [
            "gone: info directly, missing here",
            "skipped: success directly, skipped here",
            "twice #2: success directly, failure here",
            "warned: success directly, warning here",
        ];
        assert_eq!(losses(&direct, &through), expected);
        assert!(losses(&direct, &direct).is_empty());
    }
}
