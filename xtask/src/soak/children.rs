//! A child that ends in every way there is, again and again: each time the next call has a new one, and in the end nothing
//! is left of those before.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::client::Connection;
use super::kernel::{self, Process, settled};
use super::report::Report;
use super::requests::Endpoint;
use super::rig::Ground;
use crate::bench::process::resident_mib;
use crate::gateway;
use crate::server::Server;

const PART: &str = "children";

/// Starts before anything is measured: allocators and tables have their size then.
const WARM: usize = 20;

/// What an allocator may keep besides, in MiB.
const SLACK: f64 = 16.0;

/// How long a server may be away between the end of a child and the start of the next one.
const AWAY: Duration = Duration::from_secs(10);

/// After the last process has gone.
const SETTLES: Duration = Duration::from_secs(1);

/// Ends that take the gateway a while, such as the two seconds in which a child may end by itself.
const RARE: usize = 50;

/// Children that never end their line. The gateway reads 40 MiB of it into a buffer that grows by doubling, and the
/// allocator takes its time to give that back.
const ENDLESS: usize = 5;
const ENDLESS_MIB: f64 = 256.0;

/// How a child ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Exit,
    Abort,
    AnswerThenExit,
    KilledChild,
    KilledWarden,
    ForkedAway,
    Reloaded,
    Garbage,
    ClosedStdout,
    EndlessLine,
}

const COMMON: [End; 7] = [
    End::Exit,
    End::Abort,
    End::AnswerThenExit,
    End::KilledChild,
    End::KilledWarden,
    End::ForkedAway,
    End::Reloaded,
];
const SELDOM: [End; 2] = [End::Garbage, End::ClosedStdout];

impl End {
    fn of_turn(turn: usize) -> Self {
        match turn % RARE {
            0 => SELDOM[turn / RARE % SELDOM.len()],
            _ => COMMON[turn % COMMON.len()],
        }
    }
}

/// What is measured before and after.
#[derive(Debug)]
struct State {
    descriptors: usize,
    mib: f64,
    processes: Vec<Process>,
}

impl State {
    fn of(gateway: &Server) -> Result<Self> {
        Ok(Self {
            descriptors: kernel::descriptors(gateway.pid())?,
            mib: resident_mib(gateway.pid())?,
            processes: kernel::descendants(gateway.pid()),
        })
    }
}

pub(super) async fn run(ground: &Ground<'_>, short: bool, report: &mut Report) -> Result<()> {
    let turns = if short { 60 } else { 1_000 };
    let gateway = ground.gateway("", &ground.child("bad", "faulty", &[])?)?;
    let endpoint = Endpoint::of(&gateway)?;
    let mut caller = Caller {
        ground,
        gateway: &gateway,
        connection: Connection::open(endpoint.address).await?,
        endpoint,
        calls: 0,
    };
    caller.revived().await?;
    for turn in 1..=WARM {
        caller.turn(COMMON[turn % COMMON.len()]).await?;
    }
    let before = caller.at_rest().await?;
    caller.at_work().await?;
    let (begun, mut away) = (Instant::now(), Duration::ZERO);
    for turn in 1..=turns {
        away = away.max(caller.turn(End::of_turn(turn)).await?);
    }
    let each = begun.elapsed() / u32::try_from(turns)?;
    let after = caller.at_rest().await?;
    compare(report, turns, &before, &after);
    caller.at_work().await?;
    for _ in 0..ENDLESS {
        caller.turn(End::EndlessLine).await?;
    }
    let now = resident_mib(gateway.pid())?;
    let (what, bound) = (
        format!("memory after {ENDLESS} endless lines"),
        before.mib + ENDLESS_MIB,
    );
    report.hold(
        PART,
        &what,
        format!("{now:.1} MiB"),
        format!("{bound:.1} MiB"),
        now < bound,
    );
    report.note(PART, "one end and start, on average", format!("{each:.1?}"));
    report.hold(
        PART,
        "the longest without a server",
        format!("{away:.1?}"),
        "10 s",
        away < AWAY,
    );
    gateway.stop()?;
    let left = settled(AWAY, || Ok(kernel::marked(&ground.mark())), Vec::is_empty).await?;
    report.hold(
        PART,
        "processes left after the gateway's end",
        left.len(),
        "0",
        left.is_empty(),
    );
    Ok(())
}

fn compare(report: &mut Report, turns: usize, before: &State, after: &State) {
    let zombies = after
        .processes
        .iter()
        .filter(|process| process.is_zombie())
        .count();
    let what = format!("zombies after {turns} children");
    report.hold(PART, &what, zombies, "0", zombies == 0);
    let now = after.processes.len();
    report.hold(
        PART,
        "processes once the server was taken out",
        now,
        "0",
        now == 0,
    );
    let (now, then) = (after.descriptors, before.descriptors);
    report.hold(
        PART,
        "descriptors",
        now,
        format!("{then}, as before"),
        now <= then,
    );
    let (now, then) = (after.mib, before.mib);
    let bound = format!("{:.1} MiB, as before and {SLACK}", then + SLACK);
    report.hold(
        PART,
        "memory",
        format!("{now:.1} MiB"),
        bound,
        now < then + SLACK,
    );
}

struct Caller<'a> {
    ground: &'a Ground<'a>,
    gateway: &'a Server,
    endpoint: Endpoint,
    connection: Connection,
    calls: u64,
}

impl Caller<'_> {
    /// Ends the child in this way, and waits until there is another one. How long that took.
    async fn turn(&mut self, end: End) -> Result<Duration> {
        self.end(end).await.with_context(|| format!("{end:?}"))?;
        let ended = Instant::now();
        self.revived()
            .await
            .with_context(|| format!("after {end:?}"))?;
        Ok(ended.elapsed())
    }

    async fn end(&mut self, end: End) -> Result<()> {
        let nothing = json!({});
        match end {
            End::Exit => self.lost("exit", &nothing).await,
            End::Abort => self.lost("abort", &nothing).await,
            End::Garbage => self.lost("flood", &nothing).await,
            End::ClosedStdout => self.lost("close_stdout", &nothing).await,
            End::EndlessLine => self.lost("long_line", &nothing).await,
            End::AnswerThenExit => {
                self.call("answer_then_exit", &nothing).await?;
                Ok(())
            }
            End::KilledChild => self.kill(|process| process.name == "faulty"),
            End::KilledWarden => self.kill(|process| process.parent == self.gateway.pid()),
            End::ForkedAway => {
                let pidfile = self.ground.scratch.join("forked");
                let _ = std::fs::remove_file(&pidfile);
                self.call("fork_away", &json!({"pidfile": pidfile})).await?;
                // The file tells that the process is there: before, it would not be a descendant yet.
                settled(AWAY, || Ok(pidfile.exists()), |there| *there).await?;
                self.lost("exit", &nothing).await
            }
            End::Reloaded => {
                let turn = self.calls.to_string();
                let server = self.ground.child("bad", "faulty", &[])?;
                self.reload(&server.replace("env = {", &format!("env = {{ TURN = {turn:?},")))
            }
        }
    }

    /// Gives the gateway these servers.
    fn reload(&self, servers: &str) -> Result<()> {
        gateway::write_config("", servers, &self.ground.scratch)?;
        signal(self.gateway.pid(), Signal::HUP)
    }

    /// Takes the server out, and waits until all that belonged to it has gone.
    async fn at_rest(&mut self) -> Result<State> {
        self.reload("")?;
        let look = || State::of(self.gateway);
        settled(AWAY, look, |state| state.processes.is_empty()).await?;
        // What was held for them goes in the same moment, or a little later.
        tokio::time::sleep(SETTLES).await;
        State::of(self.gateway)
    }

    /// Puts it in again.
    async fn at_work(&mut self) -> Result<()> {
        self.end(End::Reloaded).await?;
        self.revived().await
    }

    /// Kills processes below the gateway: an older server may have two sessions, which are two processes.
    fn kill(&self, is_it: impl Fn(&Process) -> bool) -> Result<()> {
        let mut processes = kernel::descendants(self.gateway.pid());
        processes.retain(is_it);
        // One that has ended meanwhile has done what is wanted.
        for process in &processes {
            let _ = signal(process.pid, Signal::KILL);
        }
        Ok(())
    }

    /// Calls a tool that ends the server: the caller is told that it may have run.
    async fn lost(&mut self, tool: &str, arguments: &Value) -> Result<()> {
        let answer = self.call(tool, arguments).await?;
        match answer["error"]["code"].as_i64() {
            Some(-31003) => Ok(()),
            _ => bail!("{tool} was answered with {answer}"),
        }
    }

    /// Waits for a new process, which has had no call before. Until it is there calls may fail; none may hang.
    async fn revived(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let answer = self.call("count", &json!({})).await?;
            if answer["result"]["content"][0]["text"] == "1" {
                return Ok(());
            }
            if begun.elapsed() > AWAY {
                let there = kernel::descendants(self.gateway.pid());
                bail!("no new process: {answer}; there are {there:?}");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn call(&mut self, tool: &str, arguments: &Value) -> Result<Value> {
        self.calls += 1;
        let request = self.endpoint.call(self.calls, tool, arguments)?;
        Ok(self.connection.exchange(&request).await?.json())
    }
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("no process id")?;
    Ok(kill_process(pid, signal)?)
}
