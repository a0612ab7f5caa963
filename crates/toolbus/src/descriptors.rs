//! Open files: as many as the connections need, and never all of them for connections.

use rustix::process::{Resource, getrlimit, setrlimit};

/// For everything that is no client's connection: servers at URLs, five for each child, files.
const OTHERS: u64 = 4_096;

/// Asks the system for as many descriptors as `connections` need beside all else. Answers for how many connections
/// there is room: the rest must stay free, or calls could not reach their servers any more.
pub(crate) fn room_for(connections: usize) -> usize {
    let wanted = (connections as u64).saturating_add(OTHERS);
    let has = raise(wanted);
    if has >= wanted {
        return connections;
    }
    // A third stays for the others, where there is little.
    let room =
        usize::try_from((has - has / 3).max(has.saturating_sub(OTHERS))).unwrap_or(usize::MAX);
    if room < connections {
        tracing::warn!(
            "{connections} connections are configured, and the system allows {has} open files: \
             there is room for {room} connections (`ulimit -n`, or LimitNOFILE of systemd)"
        );
    }
    room.min(connections)
}

/// Raises what programs get at first towards what they may have. Not further than wanted: children inherit it, and some
/// go through all of it when they start.
fn raise(wanted: u64) -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return current;
    }
    let most = limit.maximum.unwrap_or(u64::MAX);
    limit.current = Some(wanted.min(most));
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => wanted.min(most),
        Err(_) => current,
    }
}
