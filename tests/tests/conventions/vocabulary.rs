//! The vocabulary of the field: a search for a standard term shows its file first, and private words stay out.

use std::fs;

use super::{read, root, rust_files};

/// What an engineer searches for, and the file that must come first.
const SUBJECTS: &[(&str, &str)] = &[
    ("authorize", "platform/src/deploy/authorize.rs"),
    ("backup", "store/src/backup/mod.rs"),
    ("diagnostic", "manifest-schema/src/diagnostic.rs"),
    ("dispatch", "picloud/src/edge/dispatch.rs"),
    ("drain", "platform/src/recording/writer.rs"),
    ("evict", "platform/src/executor/evictable_slots.rs"),
    ("gc", "platform/src/gc/mod.rs"),
    ("heartbeat", "platform/src/nodes/heartbeat.rs"),
    ("histogram", "platform/src/histogram.rs"),
    ("lease", "platform/src/schedules/lease.rs"),
    ("metrics", "picloud/src/metrics/mod.rs"),
    ("misfire", "platform/src/schedules/misfire.rs"),
    ("pkt_line", "git-receiver/src/pkt_line.rs"),
    ("quarantine", "git-receiver/src/quarantine.rs"),
    ("rate_limit", "platform/src/rate_limit.rs"),
    ("retention", "store/src/queries/retention.rs"),
    ("rollback", "platform/src/deploy/rollback.rs"),
    ("sandbox", "runtime/src/sandbox.rs"),
    ("shutdown", "picloud/src/edge/shutdown.rs"),
    ("slots", "platform/src/executor/slots.rs"),
    ("snapshot", "platform/src/deploy/snapshot.rs"),
    ("timer", "platform/src/schedules/timer.rs"),
    ("token_bucket", "platform/src/recording/token_bucket.rs"),
    ("worker_pool", "platform/src/executor/worker_pool.rs"),
];

/// Words that had a private meaning, each with the standard term.
const PRIVATE: &[(&str, &str)] = &[
    ("agenda", "due queue"),
    ("anew", "again"),
    ("beside", "next to, besides"),
    ("desk", "operations"),
    ("gives way", "is evicted"),
    ("owed", "due, missed"),
    ("patient", "background"),
    ("reckoned", "evaluated"),
    ("told", "notified, configured, reported"),
    ("turned away", "rejected"),
    ("upkeep", "maintenance"),
    ("whoever", "the client, anyone"),
];

/// Source files in the order in which a search shows them: named after the word, with the word in the path, then by the
/// number of lines with it.
fn search(word: &str) -> Vec<String> {
    let mut found: Vec<((bool, bool, usize), String)> = Vec::new();
    for name in ["manifest-schema", "git-receiver", "runtime", "store", "platform", "picloud"] {
        for file in rust_files(&root().join(name).join("src")) {
            let text = fs::read_to_string(&file).expect("code").to_ascii_lowercase();
            let path = file.strip_prefix(root()).expect("in the repository").display().to_string();
            let lines = text.lines().filter(|line| line.contains(word)).count();
            let named = path.ends_with(&format!("/{word}.rs")) || path.ends_with(&format!("/{word}/mod.rs"));
            if lines > 0 || named {
                found.push(((named, path.contains(word), lines), path));
            }
        }
    }
    found.sort_by(|(rank, path), (other_rank, other)| other_rank.cmp(rank).then_with(|| path.cmp(other)));
    found.into_iter().map(|(_, path)| path).collect()
}

#[test]
fn search_for_a_standard_term_shows_its_file_first() {
    for (word, file) in SUBJECTS {
        let found = search(word);
        assert_eq!(found.first().map(String::as_str), Some(*file), "{word}: {found:?}");
    }
}

/// Whether a line has a word, or words, with nothing of a longer word around.
fn has_word(line: &str, word: &str) -> bool {
    let ends = |text: Option<char>| text.is_none_or(|c| !c.is_ascii_alphabetic());
    line.match_indices(word).any(|(start, _)| {
        ends(line[..start].chars().next_back()) && ends(line[start + word.len()..].chars().next())
    })
}

#[test]
fn private_words_stay_out_of_code_and_documents() {
    let own = file!().rsplit('/').next().expect("a name");
    let mut found = Vec::new();
    let code = ["manifest-schema", "git-receiver", "runtime", "store", "platform", "picloud", "tests"];
    let files = code.iter().flat_map(|name| rust_files(&root().join(name)));
    // The fuzz targets have a README of somebody's repository.
    let files =
        files.filter(|file| !file.ends_with(own) && !file.starts_with(root().join("git-receiver/fuzz")));
    let texts = files.map(|file| (file.display().to_string(), fs::read_to_string(&file).expect("code")));
    let documents =
        fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("a file").path());
    let documents = documents
        .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
        .map(|file| (file.display().to_string(), fs::read_to_string(&file).expect("a document")));
    let others =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "bench/README.md", "git-receiver/fuzz/README.md"];
    let others = others.iter().map(|name| ((*name).to_owned(), read(name)));
    for (file, text) in texts.chain(documents).chain(others) {
        for (number, line) in text.lines().enumerate() {
            let line = line.to_ascii_lowercase();
            for (word, term) in PRIVATE {
                if has_word(&line, word) {
                    found.push(format!("{file}:{}: `{word}`; the standard term is: {term}", number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
