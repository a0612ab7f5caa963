//! What is measured: cells of era, size and connections, each at three targets.

use clap::ValueEnum;

/// What a call goes through.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum Target {
    /// Nothing: the echo upstream answers itself.
    Direct,
    /// A proxy that reads nothing.
    Bare,
    /// Toolbus.
    Gateway,
}

impl Target {
    /// In the order of the tables.
    pub(super) const ALL: [Self; 3] = [Self::Direct, Self::Bare, Self::Gateway];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Bare => "bare proxy",
            Self::Gateway => "gateway",
        }
    }
}

/// Which generation of MCP the client speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Era {
    /// 2026-07-28, stateless.
    Modern,
    /// 2025-11-25, with a session.
    Legacy,
}

impl Era {
    pub(super) const ALL: [Self; 2] = [Self::Modern, Self::Legacy];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Legacy => "legacy",
        }
    }

    pub(super) fn revision(self) -> &'static str {
        match self {
            Self::Modern => "2026-07-28",
            Self::Legacy => "2025-11-25",
        }
    }
}

/// How long the message is that goes there and comes back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Size {
    Small,
    Middle,
    Large,
}

impl Size {
    pub(super) const ALL: [Self; 3] = [Self::Small, Self::Middle, Self::Large];

    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Small => 200,
            Self::Middle => 16 * 1024,
            Self::Large => 512 * 1024,
        }
    }

    /// As a filter writes it.
    fn short(self) -> &'static str {
        match self {
            Self::Small => "200B",
            Self::Middle => "16KiB",
            Self::Large => "512KiB",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Small => "200 B",
            Self::Middle => "16 KiB",
            Self::Large => "512 KiB",
        }
    }
}

/// Clients at once, in the whole plan: one, a few, many, and more than a round number of workers.
const CONNECTIONS: [usize; 4] = [1, 16, 64, 125];

/// The two that answer most: the cost of one call, and of one among many.
const QUICK_CONNECTIONS: [usize; 2] = [1, 64];

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell {
    pub(super) era: Era,
    pub(super) size: Size,
    pub(super) connections: usize,
}

/// The cells to measure, in the order of the tables.
pub(super) fn cells(quick: bool, filter: Option<&str>) -> Vec<Cell> {
    let connections: &[usize] = if quick {
        &QUICK_CONNECTIONS
    } else {
        &CONNECTIONS
    };
    let mut cells = Vec::new();
    for era in Era::ALL {
        for size in Size::ALL {
            let row = connections.iter().map(|&connections| Cell {
                era,
                size,
                connections,
            });
            cells.extend(row.filter(|cell| filter.is_none_or(|filter| cell.matches(filter))));
        }
    }
    cells
}

impl Cell {
    /// Each part of the filter must be a part of the cell's name.
    fn matches(self, filter: &str) -> bool {
        let connections = self.connections.to_string();
        let parts = [self.era.name(), self.size.short(), &connections];
        filter.split('/').all(|part| parts.contains(&part))
    }
}

#[cfg(test)]
mod tests {
    use super::cells;

    #[test]
    fn a_filter_takes_whole_parts() {
        assert_eq!(cells(false, None).len(), 24);
        assert_eq!(cells(true, None).len(), 12);
        assert_eq!(cells(false, Some("modern/200B/1")).len(), 1);
        assert_eq!(cells(false, Some("legacy")).len(), 12);
        assert_eq!(cells(false, Some("64/16KiB")).len(), 2);
        assert!(cells(false, Some("ancient")).is_empty());
    }
}
