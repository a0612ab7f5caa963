//! Searches for inputs that break what must hold for every reader of bytes from outside, guided by coverage.
//!
//! libFuzzer runs with stable Rust: LLVM's counters of coverage are a pass that rustc can be told to run.

mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::place::{Place, cargo};
use crate::run::{capture, run};
use crate::say::say;
use report::Outcome;

/// What rustc is told so that coverage is counted: what cargo-fuzz asks for, without the sanitizers, which need a
/// nightly compiler and look for the faults of unsafe code.
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

/// An input that takes longer than this many seconds is a finding: nothing here may take long for a few KiB.
const SLOW: u64 = 5;

/// MiB of memory that a finding takes.
const MUCH: u64 = 1024;

/// How to search.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this target, a folder of fuzz/seeds
    #[arg(long)]
    target: Option<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Runs one target after the other; findings are left in the build folder and are an error.
pub(crate) fn fuzz(place: &Place, options: &Options) -> Result<()> {
    let seeds = place.root().join("fuzz/seeds");
    let targets = targets(&seeds, options.target.as_deref())?;
    let fuzzer = build(place)?;
    let work = place.lasting("fuzz")?;
    let mut outcomes = Vec::new();
    for target in targets {
        say(format_args!("{target}: {} s", options.seconds));
        outcomes.push(search(&fuzzer, &work, &seeds, target, options.seconds)?);
        report::print(&outcomes[outcomes.len() - 1..]);
    }
    say("");
    report::print(&outcomes);
    let findings: Vec<&PathBuf> = outcomes.iter().flat_map(|one| &one.findings).collect();
    for finding in &findings {
        say(format_args!("found: {}", finding.display()));
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!(
            "{count} inputs break what must hold; move each into its folder of fuzz/seeds once it is understood"
        ),
    }
}

fn targets(seeds: &Path, only: Option<&str>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(seeds).context("fuzz/seeds is gone")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    match only {
        None => Ok(names),
        Some(name) if names.iter().any(|known| known == name) => Ok(vec![name.to_owned()]),
        Some(name) => bail!("no target {name}; there are {}", names.join(", ")),
    }
}

/// Builds the fuzzer beside the ordinary builds: with a platform named, cargo keeps them apart, and what runs while
/// it builds is not instrumented.
fn build(place: &Place) -> Result<PathBuf> {
    let compiler = capture(Command::new("rustc").args(["-v", "-V"]))?;
    let host = compiler
        .lines()
        .find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not say what it compiles for")?;
    capture(Command::new("c++").arg("--version"))
        .context("libFuzzer is compiled first, which takes a C++ compiler")?;
    let mut build = cargo();
    build.args("build --quiet -p toolbus-fuzz --features guided --profile fuzz".split(' '));
    build.arg("--target").arg(host).current_dir(place.root());
    build.env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\x1f"));
    say("building, instrumented");
    run(&mut build)?;
    place.binary(&format!("{host}/fuzz"), "guided")
}

fn search(
    fuzzer: &Path,
    work: &Path,
    seeds: &Path,
    target: String,
    seconds: u64,
) -> Result<Outcome> {
    let (corpus, found) = (
        work.join("corpus").join(&target),
        work.join("found").join(&target),
    );
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&found)?;
    let before = files(&found)?;
    let mut run = Command::new(fuzzer);
    run.env("TOOLBUS_FUZZ", &target)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={SLOW}"))
        .arg(format!("-rss_limit_mb={MUCH}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg(format!(
            "-dict={}",
            seeds.with_file_name("words.dict").display()
        ))
        .args([
            "-print_final_stats=1",
            "-use_value_profile=1",
            "-verbosity=1",
        ])
        .arg(&corpus)
        .arg(seeds.join(&target));
    let output = run.output().context("the fuzzer cannot be started")?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    fs::write(work.join(format!("{target}.log")), &log)?;
    let mut findings = files(&found)?;
    findings.retain(|file| !before.contains(file));
    if !output.status.success() {
        say(report::why(&log));
        if findings.is_empty() {
            bail!("the fuzzer of {target} ended with {}", output.status);
        }
    }
    Outcome::read(target, &log, findings)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder)?.map(|file| Ok(file?.path()));
    files.collect()
}
