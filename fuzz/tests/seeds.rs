//! Every seed is played, among them what the fuzzer found once, and a few hundred mutations of each.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use toolbus_fuzz::{TARGETS, Target};

/// Mutations of each seed: all targets together take a second or two.
const MUTATIONS: u64 = 300;

/// The same of a target that takes a connection for each.
const CONNECTIONS: u64 = 15;

/// What a mutation puts in: bytes that mean something to one of the readers.
const MEANINGFUL: &[u8] = b"{}[]\",:\\\n\r \0=?-+.0eE/*_\xef\xff\xc3\xa9d";

fn seeds(target: &Target) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target.name);
    let files = fs::read_dir(&folder).expect("each target has a folder of seeds");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files
}

/// Runs the check, and names the input where it fails.
fn play(target: &Target, input: &[u8], what: &str) {
    let played = catch_unwind(|| (target.check)(input));
    assert!(
        played.is_ok(),
        "{}: {what} breaks what must hold: {}",
        target.name,
        input.escape_ascii()
    );
}

#[test]
fn every_seed_holds() {
    for target in &TARGETS {
        play(target, b"", "nothing");
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{} has no seed", target.name);
        for seed in seeds {
            let input = fs::read(&seed).expect("a seed");
            play(target, &input, &seed.display().to_string());
        }
    }
}

#[test]
fn mutations_of_every_seed_hold() {
    for target in &TARGETS {
        let mutations = match target.name {
            "door" => CONNECTIONS,
            _ => MUTATIONS,
        };
        for seed in seeds(target) {
            let input = fs::read(&seed).expect("a seed");
            for number in 0..mutations {
                let what = format!("mutation {number} of {}", seed.display());
                play(target, &mutated(&input, number), &what);
            }
        }
    }
}

/// The same for the same number: up to three changes of a byte, a byte more, a byte less, or a part twice.
fn mutated(input: &[u8], number: u64) -> Vec<u8> {
    let mut random = Random(number + 1);
    let mut out = input.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(out.len() + 1);
        let byte = MEANINGFUL[random.below(MEANINGFUL.len())];
        match random.below(5) {
            0 => out.insert(at, byte),
            1 => out.truncate(at),
            2 if at < out.len() => drop(out.remove(at)),
            3 => {
                let end = at + random.below(out.len() - at + 1);
                let part = out[at..end].to_vec();
                out.splice(at..at, part);
            }
            _ => {
                if let Some(place) = out.get_mut(at) {
                    *place = byte;
                }
            }
        }
    }
    out
}

/// Xorshift (Marsaglia, 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
