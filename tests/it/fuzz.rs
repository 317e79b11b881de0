//! The bodies of the fuzz targets over their seeds, and over seeds that were edited: what libFuzzer does for hours
//! (`just fuzz`), for some seconds. A failure names the target and prints the input.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

#[path = "../../fuzz/fuzz_targets/bodies.rs"]
mod bodies;

/// Edited inputs for each target.
const CASES: u32 = 2_000;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The seeds of a target, in the order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = fuzz().join("seeds").join(target);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// What inputs are edited with, beside any bytes: numbers at their ends, and characters that mean something.
const PIECES: [&str; 16] = [
    "-1",
    "18446744073709551615",
    "9223372036854775808",
    "1e999",
    "NaN",
    "null",
    "[]",
    "{}",
    "\"",
    "\\",
    "\n",
    "\0",
    "\u{1b}[31m",
    "\u{202e}",
    "{\"$date\":\"x\"}",
    "+262142-12-31T23:59:59Z",
];

/// A change to an input.
#[derive(Debug, Clone)]
enum Edit {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Repeat(Index, Index),
    /// The rest comes from another seed.
    Splice(Index, Index),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let piece = prop_oneof![
        prop::sample::select(PIECES.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 1..9),
    ];
    let edit = prop_oneof![
        any::<(Index, u8)>().prop_map(|(at, byte)| Edit::Replace(at, byte)),
        (any::<Index>(), piece).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        any::<(Index, Index)>().prop_map(|(from, to)| Edit::Remove(from, to)),
        any::<(Index, Index)>().prop_map(|(from, to)| Edit::Repeat(from, to)),
        any::<(Index, Index)>().prop_map(|(at, seed)| Edit::Splice(at, seed)),
    ];
    prop::collection::vec(edit, 0..12)
}

fn edited(seeds: &[Vec<u8>], seed: Index, edits: &[Edit]) -> Vec<u8> {
    let mut input = seed.get(seeds).clone();
    for edit in edits {
        let place = |index: &Index| index.index(input.len() + 1);
        let range = |from: &Index, to: &Index| place(from).min(place(to))..place(from).max(place(to));
        match edit {
            Edit::Replace(at, byte) => {
                let at = place(at);
                if let Some(slot) = input.get_mut(at) {
                    *slot = *byte;
                }
            }
            Edit::Insert(at, piece) => {
                let at = place(at);
                input.splice(at..at, piece.iter().copied());
            }
            Edit::Remove(from, to) => {
                let range = range(from, to);
                input.drain(range);
            }
            // A few repetitions of a long input would only be slow.
            Edit::Repeat(from, to) if input.len() < 10_000 => {
                let part = input[range(from, to)].to_vec();
                input.extend(part);
            }
            Edit::Repeat(..) => {}
            Edit::Splice(at, other) => {
                let at = place(at);
                let other = other.get(seeds);
                input.truncate(at);
                input.extend(other.iter().skip(at));
            }
        }
    }
    input
}

#[test]
fn every_seed_is_taken() {
    for (target, _) in bodies::TARGETS {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "fuzz/seeds/{target} is empty");
        for seed in &seeds {
            bodies::run(target, seed);
        }
        bodies::run(target, b"");
    }
}

#[test]
fn every_edited_seed_and_any_bytes_are_taken() {
    for (target, _) in bodies::TARGETS {
        let seeds = seeds(target);
        let from_seed = (any::<Index>(), edits()).prop_map(|(seed, edits)| edited(&seeds, seed, &edits));
        let inputs = prop_oneof![9 => from_seed, 1 => prop::collection::vec(any::<u8>(), 0..300)];
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let tried = TestRunner::new(config).run(&inputs, |input| {
            bodies::run(target, &input);
            Ok(())
        });
        if let Err(failed) = tried {
            panic!("target `{target}`: {failed}");
        }
    }
}

#[test]
fn every_target_is_one_for_cargo_fuzz() {
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let declared: Vec<&str> = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")).collect();
    let expected: Vec<String> = bodies::TARGETS.iter().map(|(target, _)| format!("{target}.rs\"")).collect();
    assert_eq!(declared, expected);
    for (target, _) in bodies::TARGETS {
        let path = fuzz().join("fuzz_targets").join(format!("{target}.rs"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&format!("bodies::run(\"{target}\", data)")), "{}", path.display());
    }
}
