//! The short form of the fuzzing in `git-receiver/fuzz`: every corpus file and a fixed number of mutations, the same in
//! every run. Every accepted input is checked with the real git.

mod corpora;
#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub)]
mod harness;
mod mutation;
mod real_git;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use harness::invariants::Accepted;
use harness::{Outcome, Target};

/// The time limit of one input, on a busy machine.
const INPUT_TIME_MAX: Duration = Duration::from_secs(10);

fn dir() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz"].iter().collect()
}

/// The files of a corpus, sorted by name, and those that a long run found (`FUZZ_FOUND`).
fn corpus(target: Target) -> Vec<(String, Vec<u8>)> {
    let found = std::env::var_os("FUZZ_FOUND").map(PathBuf::from);
    let dirs = [Some(dir().join("corpus")), found].into_iter().flatten();
    let mut files: Vec<(String, Vec<u8>)> = dirs
        .flat_map(|dir| fs::read_dir(dir.join(target.name())).expect("a corpus"))
        .map(|entry| {
            let path = entry.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("a file"))
        })
        .collect();
    files.sort();
    files
}

/// Runs one input; prints it if an invariant is violated.
fn run(target: Target, input: &[u8]) -> Outcome {
    let begin = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| target.run(input))).unwrap_or_else(|panic| {
        eprintln!("the input of `{}`: {}", target.name(), input.escape_ascii());
        resume_unwind(panic)
    });
    assert!(begin.elapsed() < INPUT_TIME_MAX, "takes {:?}: {}", begin.elapsed(), input.escape_ascii());
    outcome
}

/// Runs the corpus of `target` and `mutations` of it, and checks accepted inputs with git.
fn run_corpus(target: Target, mutations: usize) {
    let corpus = corpus(target);
    let mut accepted: Vec<(Vec<u8>, Box<Accepted>)> = Vec::new();
    for (name, input) in &corpus {
        match run(target, input) {
            Outcome::Accepted(push) => {
                assert!(!name.starts_with("refused-"), "{name} was accepted");
                accepted.push((input.clone(), push));
            }
            Outcome::Refused(why) => assert!(!name.starts_with("accepted-"), "{name} was refused: {why}"),
        }
    }
    let words: Vec<Vec<u8>> = words();
    let mut numbers = mutation::Numbers::new(0x9e37_79b9_7f4a_7c15);
    for round in 0..mutations {
        let (_, input) = &corpus[round % corpus.len()];
        let (_, other) = &corpus[numbers.below(corpus.len())];
        let input = mutation::mutated(&mut numbers, input, other, &words);
        if let Outcome::Accepted(push) = run(target, &input) {
            accepted.push((input, push));
        }
    }
    assert!(accepted.len() > mutations / 50, "too few mutations are accepted to reach deep code");
    real_git::assert_git_accepts(&accepted);
}

/// The words of libFuzzer's dictionary: one quoted string per line, with `\xNN` escapes.
fn words() -> Vec<Vec<u8>> {
    let text = fs::read_to_string(dir().join("dictionary")).expect("the dictionary");
    let quoted = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    quoted
        .map(|word| {
            let mut parts = word.split("\\x");
            let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
            for part in parts {
                bytes.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            bytes
        })
        .collect()
}

#[test]
fn requests_to_receive_pack_keep_invariants() {
    run_corpus(Target::Request, 5000);
}

#[test]
fn pushes_of_mutated_objects_keep_invariants() {
    run_corpus(Target::Pack, 10_000);
}

#[test]
fn mutated_objects_keep_invariants() {
    run_corpus(Target::Object, 15_000);
}

#[test]
fn requests_to_upload_pack_keep_invariants() {
    run_corpus(Target::Upload, 5000);
}
