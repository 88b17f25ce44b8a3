//! Every target over its seeds and over changes of them: always the same ones, so that what passes here passes again.
//! `cargo xtask fuzz` tries more, guided by coverage.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use llmc_fuzz::TARGETS;

/// Changed inputs for each target, more than a second's worth for none of them.
const CHANGES: u64 = 400;
/// Longest changed input.
const MAX_BYTES: usize = 4096;
/// What parsers treat in a special way.
const WORDS: [&str; 16] = [
    "\0", "\n", "\r\n", "\"", "\\", "{", "}", "[", "..", "/", "\u{202e}", "-1", "1e999", "null", "\u{feff}",
    "--",
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(name)
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder("corpus").join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Numbers that look random and are the same in each run: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    /// A seed with up to eight changes.
    fn changed(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(8) {
            let at = self.below(input.len() + 1);
            let end = input.len().min(at + self.below(16));
            match self.below(5) {
                0 if at < input.len() => input[at] ^= 1 << self.below(8),
                1 => drop(input.drain(at..end)),
                2 => drop(input.splice(at..at, WORDS[self.below(WORDS.len())].bytes())),
                3 => {
                    let copied = input[at..end].repeat(self.below(20));
                    drop(input.splice(at..at, copied));
                }
                _ => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len() + 1);
                    drop(input.splice(at..end, other[from..].iter().copied()));
                }
            }
            input.truncate(MAX_BYTES);
        }
        input
    }
}

#[test]
fn no_target_fails_on_its_seeds_and_changes_of_them() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "`{name}` has no seeds");
        let mut dice = Dice(0);
        let changed = (0..CHANGES).map(|_| dice.changed(&seeds));
        let inputs: Vec<Vec<u8>> = seeds.iter().cloned().chain(changed).collect();
        for input in inputs {
            let held = catch_unwind(|| target(&input)).is_ok();
            assert!(held, "`{name}` fails on {:?}", String::from_utf8_lossy(&input));
        }
    }
}

#[test]
fn every_target_has_a_fuzzer_and_seeds() {
    let stems = |folder: PathBuf| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(stems(folder("fuzz_targets")), names);
    assert_eq!(stems(folder("corpus")), names);
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    assert!(names.iter().all(|name| manifest.contains(&format!("name = \"{name}\""))), "{manifest}");
}
