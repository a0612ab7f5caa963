//! The servers that can be connected to, and how long to wait between attempts.

use std::time::Duration;

use super::settings::Address;
use super::wire::Info;

/// The first wait after a failed attempt.
const FIRST: Duration = Duration::from_millis(20);

/// The longest.
const LONGEST: Duration = Duration::from_secs(2);

/// Servers that a cluster says it has are learnt up to this many.
const MOST: usize = 64;

/// The servers.
pub(super) struct Pool {
    configured: Vec<Address>,
    discovered: Vec<Address>,
    next: usize,
    /// Attempts in vain since the last connection.
    failed: u32,
}

impl Pool {
    pub(super) fn new(configured: Vec<Address>) -> Self {
        Self {
            configured,
            discovered: Vec::new(),
            next: 0,
            failed: 0,
        }
    }

    /// The server to try now: each in turn.
    pub(super) fn choose(&mut self) -> Address {
        let count = self.configured.len() + self.discovered.len();
        let place = self.next % count;
        self.next = place + 1;
        self.failed = self.failed.saturating_add(1);
        let mut all = self.configured.iter().chain(&self.discovered);
        all.nth(place).unwrap_or(&self.configured[0]).clone()
    }

    /// How long to wait before the next attempt: not at all before another server that was not tried yet.
    pub(super) fn delay(&self) -> Duration {
        let count = self.configured.len() + self.discovered.len();
        let rounds = self.failed / u32::try_from(count).unwrap_or(u32::MAX);
        match rounds {
            0 if self.failed > 0 => Duration::ZERO,
            0 => FIRST,
            rounds => (FIRST * 2_u32.saturating_pow(rounds.min(10) - 1)).min(LONGEST),
        }
    }

    /// An attempt succeeded. The same server is tried first when the connection is lost.
    pub(super) fn connected(&mut self, info: &Info) {
        self.failed = 0;
        self.next = self.next.saturating_sub(1);
        self.discovered(info);
    }

    /// A server named others of its cluster.
    pub(super) fn discovered(&mut self, info: &Info) {
        let credentials = self.configured[0].credentials.clone();
        self.discovered.clear();
        for url in info.connect_urls.iter().take(MOST) {
            let Ok(mut address) = Address::parse(url) else {
                continue;
            };
            let is_same =
                |known: &Address| known.host == address.host && known.port == address.port;
            if self.configured.iter().any(is_same) {
                continue;
            }
            address.needs_tls = self.configured[0].needs_tls;
            address.credentials.clone_from(&credentials);
            self.discovered.push(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_its_turn() {
        let parse = |text| Address::parse(text).expect("an address");
        let mut pool = Pool::new(vec![parse("a"), parse("b")]);
        assert_eq!((pool.choose(), pool.delay()), (parse("a"), Duration::ZERO));
        assert_eq!((pool.choose(), pool.delay()), (parse("b"), FIRST));
        pool.choose();
        let info = Info {
            connect_urls: vec!["a:4222".into(), "c:4222".into()],
            ..Info::default()
        };
        pool.connected(&info);
        assert_eq!((pool.delay(), pool.choose()), (FIRST, parse("a")));
        assert_eq!((pool.choose(), pool.choose()), (parse("b"), parse("c")));
        for _ in 0..1000 {
            pool.choose();
        }
        assert_eq!(pool.delay(), LONGEST);
    }
}
