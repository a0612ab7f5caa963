//! The testkit's fixture as a server at a URL.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::{Gateway, testkit};

/// Which eras a server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    Both,
    /// 2026-07-28.
    Modern,
    /// 2025-11-25 and 2025-06-18.
    Legacy,
    /// 2024-11-05, at a URL over HTTP+SSE.
    Oldest,
}

impl Era {
    pub fn is_modern(self) -> bool {
        self == Self::Modern
    }

    pub const ALL: [Self; 3] = [Self::Modern, Self::Legacy, Self::Both];

    /// The name on the fixture's command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Modern => "modern",
            Self::Legacy => "legacy",
            Self::Oldest => "oldest",
        }
    }
}

/// A running server, which ends with the test.
pub struct Upstream {
    child: Child,
    url: String,
}

impl Upstream {
    /// Starts a server on a free port.
    pub fn start(era: Era) -> Self {
        Self::start_with(era, &[])
    }

    /// Starts a server on this port.
    pub fn start_at(port: u16, era: Era) -> Self {
        Self::start_with(era, &["--port", &port.to_string()])
    }

    /// [`Upstream::start`] with further arguments.
    pub fn start_with(era: Era, arguments: &[&str]) -> Self {
        let mut child = Command::new(testkit("fixture"))
            .args(["http", "--era", era.name()])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the fixture starts");
        let mut url = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut url).expect("a line");
        let url = url.trim().to_owned();
        Self { child, url }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A gateway in front of it.
    pub fn gateway(&self) -> Gateway {
        Gateway::start(&format!("[servers.fx.http]\nurl = \"{}\"\n", self.url))
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn address(&self) -> SocketAddr {
        let place = self.url.trim_start_matches("http://").split('/').next();
        let address = place.and_then(|place| place.parse().ok());
        address.unwrap_or_else(|| panic!("no address in {}", self.url))
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.kill();
    }
}
