//! Checks accepted inputs with the real git.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::harness::base::base;
use super::harness::invariants::Accepted;
use super::harness::repository::MemoryRepository;
use super::harness::wire;

/// A git command in `dir`, without user or system configuration.
pub(crate) fn git(dir: &Path, arguments: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.current_dir(dir).args(arguments);
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("LC_ALL", "C");
    git
}

/// Runs git with `input`.
pub(crate) fn run(dir: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut git = git(dir, arguments);
    let mut child =
        git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("git");
    // A failing git does not read its whole input.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("git")
}

/// Creates a bare repository with the objects and refs of `base`.
pub(crate) fn repository(dir: &Path, base: &MemoryRepository) {
    git_ok(dir, &["init", "--quiet", "--bare", "--initial-branch=main", "."], b"");
    let shallow: String = base.current_shallow().iter().map(|id| format!("{id}\n")).collect();
    std::fs::write(dir.join("shallow"), shallow).expect("a file");
    git_ok(dir, &["index-pack", "--strict", "--stdin"], &pack(base));
    let refs = base.current_refs().iter().map(|found| format!("create {}\0{}\0", found.name, found.target));
    git_ok(dir, &["update-ref", "-z", "--stdin"], refs.collect::<String>().as_bytes());
}

/// Runs git, which must succeed.
pub(crate) fn git_ok(dir: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let output = run(dir, arguments, input);
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// fsck warnings about accepted objects.
const WARNINGS: [&str; 4] = ["zeroPaddedFilemode", "nullSha1", "nulInCommit", "largePathname"];

/// Collects everything that was accepted in one repository: `git index-pack --strict` must accept the objects, `git fsck
/// --strict` must report nothing, and the refs can be created.
pub(crate) fn assert_git_accepts(accepted: &[(Vec<u8>, Box<Accepted>)]) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = base().clone();
    for (_, push) in accepted {
        // The refs of different inputs get distinct names below.
        let objects =
            Accepted { objects: push.objects.clone(), shallow: push.shallow.clone(), ..Accepted::default() };
        all = objects.applied_to(&all);
    }
    let Err(words) = judged(dir.path(), &all, accepted) else { return };
    let mut printed = String::new();
    for error in words.lines().filter(|line| !line.starts_with("warning")).take(20) {
        let guilty = |(_, push): &&(Vec<u8>, Box<Accepted>)| {
            push.objects.iter().any(|object| error.contains(&object.id.to_string()))
        };
        let input = accepted.iter().find(guilty).map(|(input, _)| input.escape_ascii().to_string());
        printed += &format!("\n{error}\n  {}", input.unwrap_or_default());
    }
    panic!("git does not accept what was accepted: {printed}");
}

fn judged(dir: &Path, all: &MemoryRepository, accepted: &[(Vec<u8>, Box<Accepted>)]) -> Result<(), String> {
    let judge = |arguments: &[&str], input: &[u8]| {
        let output = run(dir, arguments, input);
        let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(()) } else { Err(format!("git {}: {words}", arguments[0])) }
    };
    judge(&["init", "--quiet", "--bare", "."], b"")?;
    let shallow: String = all.current_shallow().iter().map(|id| format!("{id}\n")).collect();
    std::fs::write(dir.join("shallow"), shallow).expect("a file");
    // First without checks: fsck lists every bad object, index-pack only reports that there is one.
    judge(&["index-pack", "--stdin"], &pack(all))?;
    // All warnings of fsck are errors, except those about accepted objects.
    let mut fsck: Vec<String> =
        WARNINGS.iter().flat_map(|id| ["-c".to_owned(), format!("fsck.{id}=ignore")]).collect();
    fsck.extend(["fsck", "--strict", "--full", "--no-dangling"].map(str::to_owned));
    judge(&fsck.iter().map(String::as_str).collect::<Vec<_>>(), b"")?;
    let strict = WARNINGS.map(|id| format!("{id}=ignore")).join(",");
    judge(&["index-pack", &format!("--strict={strict}"), "--stdin"], &pack(all))?;
    let mut refs = Vec::new();
    for (at, found) in accepted.iter().flat_map(|(_, push)| &push.refs).enumerate() {
        let name = found.name.strip_prefix("refs/").expect("a ref stands below refs/");
        // File systems do not support longer names.
        if name.split('/').all(|part| part.len() < 200) && name.len() < 1000 {
            refs.extend(format!("create refs/{at}/{name}\0{}\0", found.target).into_bytes());
        }
    }
    judge(&["update-ref", "-z", "--stdin"], &refs)
}

fn pack(repository: &MemoryRepository) -> Vec<u8> {
    let entries: Vec<Vec<u8>> = repository
        .all()
        .map(|object| {
            assert_eq!(object.base, None, "git gets undeltified objects");
            [wire::entry_head(wire::type_number(object.kind), object.size), object.zlib.to_vec()].concat()
        })
        .collect();
    let count = u32::try_from(entries.len()).expect("not that many objects");
    wire::pack(&entries, count)
}
