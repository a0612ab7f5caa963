//! The nats-server of a run: killed, and started again with the same store on the same port.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use serde_json::Value;

use super::process::Process;
use crate::place::Place;
use crate::soak::kernel::MARK;

/// How long it may take to listen: it reads its store first.
const START: Duration = Duration::from_secs(20);

pub(crate) struct Broker {
    program: PathBuf,
    folder: PathBuf,
    mark: String,
    port: u16,
    process: Option<Process>,
}

impl Broker {
    /// Starts one on a port of its own choice.
    pub(crate) async fn start(place: &Place, folder: PathBuf, mark: String) -> Result<Self> {
        let program = place.venv().join("bin/nats-server");
        let mut broker = Self {
            program,
            folder,
            mark,
            port: 0,
            process: None,
        };
        broker.again().await?;
        Ok(broker)
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills it at once.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the broker does not run")?;
        process.signal(Signal::KILL)?;
        process.ended(START).await
    }

    /// Starts it, where it was before.
    pub(crate) async fn again(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        let port = if self.port == 0 {
            "-1".to_owned()
        } else {
            self.port.to_string()
        };
        command.args(["-a", "127.0.0.1", "-p", &port, "-js", "-sd"]);
        command.arg(self.folder.join("store"));
        command.arg("--ports_file_dir").arg(&self.folder);
        command.env(MARK, &self.mark);
        let process = Process::start("nats-server", &mut command, &self.folder)?;
        let ports = format!("nats-server_{}.ports", process.pid());
        self.process = Some(process);
        let begun = Instant::now();
        loop {
            if self.port == 0 {
                self.port = self.chosen(&ports).unwrap_or(0);
            }
            if self.port != 0 && TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            if begun.elapsed() > START {
                bail!("nats-server does not listen; see nats-server.log");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn chosen(&self, ports: &str) -> Option<u16> {
        let text = fs::read_to_string(self.folder.join(ports)).ok()?;
        let ports: Value = serde_json::from_str(&text).ok()?;
        let url = ports["nats"][0].as_str()?;
        url.rsplit(':').next()?.parse().ok()
    }
}
