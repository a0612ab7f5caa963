//! How soon a gateway answers its first call, and how much memory it takes while nothing happens.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::message::{Message, discover, result_of};
use super::numbers::median;
use super::plan::{Cell, Era, Size};
use super::process::{Pins, resident_mib};
use crate::gateway::up;
use crate::http::Connection;
use crate::place::Place;
use crate::say::say;
use crate::server::Server;

/// Starts that count; the median is reported.
const STARTS: usize = 9;

/// How long a gateway may take to answer at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing happens before memory is read.
const REST: Duration = Duration::from_secs(1);

/// Times in milliseconds, memory in MiB.
pub(super) struct Startup {
    pub(super) empty_millis: f64,
    pub(super) echo_millis: f64,
    pub(super) empty_mib: f64,
    pub(super) echo_mib: f64,
}

impl Startup {
    /// Starts the gateway again and again, without servers and with the echo upstream, on whichever core is free.
    pub(super) fn measure(place: &Place) -> Result<Self> {
        let scratch = &place.scratch("bench-start")?;
        say("starting the gateway again and again");
        let echo = place.binary("release", "echo-upstream")?;
        let echo = Server::start("echo-for-starts", &mut Command::new(echo), scratch)?;
        let servers = format!("[servers.echo.http]\nurl = {:?}\n", echo.url());
        let (empty_millis, empty_mib) = starts(place, scratch, "", |url| {
            let answer = Connection::open(url)?.exchange(discover(url)?.as_bytes())?;
            result_of(&answer).map(|_| ())
        })?;
        let cell = Cell {
            era: Era::Modern,
            size: Size::Small,
            connections: 1,
        };
        let (echo_millis, echo_mib) = starts(place, scratch, &servers, |url| {
            Message::new(cell, url, None)?.check(&mut Connection::open(url)?, 0)
        })?;
        echo.stop()?;
        Ok(Self {
            empty_millis,
            echo_millis,
            empty_mib,
            echo_mib,
        })
    }
}

/// The median time until `ask` succeeds, and the median memory a while after.
fn starts(
    place: &Place,
    scratch: &Path,
    servers: &str,
    ask: impl Fn(&str) -> Result<()>,
) -> Result<(f64, f64)> {
    let toolbus = place.binary("release", "toolbus")?;
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let mut command = up(Pins::none().under_test(toolbus.as_ref()), servers, scratch)?;
        let begun = Instant::now();
        let server = Server::start("toolbus-start", &mut command, scratch)?;
        until_answered(&server, &ask, begun)?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
        if memory.len() < 3 {
            thread::sleep(REST);
            memory.push(resident_mib(server.pid())?);
        }
        server.stop()?;
    }
    Ok((median(times), median(memory)))
}

fn until_answered(
    server: &Server,
    ask: &impl Fn(&str) -> Result<()>,
    begun: Instant,
) -> Result<()> {
    loop {
        let answer = ask(server.url());
        if answer.is_ok() || begun.elapsed() > PATIENCE {
            return answer.context("a gateway that was just started did not answer");
        }
        thread::sleep(Duration::from_micros(200));
    }
}
