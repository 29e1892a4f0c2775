//! Forms take time and memory linear in their bytes, and parsing them stops at the time limit.

use std::time::Duration;

use manifest_schema::limits::Limits;
use runtime::{Execution, FailureKind};

use super::support::{Call, SdkVersion, script};
use super::{Line, assert_linear, cpu_time, on_a_deep_stack};

const MIB: usize = 1024 * 1024;

/// How long the time limit can be exceeded.
const OVERSHOOT_MAX: Duration = Duration::from_millis(50);

/// The largest body that a server grants by default.
const BODY_BYTES_MAX: usize = 32 * MIB;

const URL_ENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=boundary";

/// A form of about this many bytes.
type Form = (&'static str, &'static str, fn(usize) -> String);

/// `text`, repeated up to a length.
fn fill(text: &str, length: usize) -> String {
    text.repeat(length / text.len())
}

/// A multipart form with one file.
fn file(data: &str) -> String {
    format!(
        "--boundary\r\nContent-Disposition: form-data; name=f; filename=g\r\n\r\n{data}\r\n--boundary--\r\n"
    )
}

const FORMS: &[Form] = &[
    ("a value", URL_ENCODED, |size| format!("a={}", fill("x", size))),
    ("an escaped value", URL_ENCODED, |size| format!("a={}", fill("%41", size))),
    ("spaces", URL_ENCODED, |size| fill("+", size)),
    ("empty fields", URL_ENCODED, |size| fill("&", size)),
    ("fields of one name", URL_ENCODED, |size| format!("a={}&", "x".repeat(size / 1000)).repeat(999)),
    ("long names", URL_ENCODED, |size| {
        (100..1000).map(|i| format!("{}{i}&", "x".repeat(size / 1000))).collect()
    }),
    ("too many fields", URL_ENCODED, |size| fill("a=&", size)),
    ("a file", MULTIPART, |size| file(&fill("x", size))),
    ("a field", MULTIPART, |size| file(&fill("x", size)).replace("; filename=g", "")),
    ("a preamble only", MULTIPART, |size| fill("x", size)),
    ("line breaks", MULTIPART, |size| file(&fill("\r\n", size))),
    ("almost boundaries", MULTIPART, |size| file(&fill("\r\n--boundar", size))),
    (
        "almost boundaries of dashes",
        "multipart/form-data; boundary=----------------------------------",
        |size| fill("\r\n-----------------------------------", size),
    ),
    (
        "a repetitive boundary",
        "multipart/form-data; boundary=''''''''''''''''''''''''''''''''''''''''''''''''''''''",
        |size| fill("\r\n--'''''''''''''''''''''''''''''''''''''''''''''''''''''\r", size),
    ),
    ("spaces after a boundary", MULTIPART, |size| format!("--boundary{}", fill(" ", size))),
    ("an epilogue", MULTIPART, |size| format!("--boundary--\r\n{}", fill("\r\n--boundary--", size))),
    ("long headers", MULTIPART, |size| file("").replace("name=f", &format!("name={}", fill("x", size)))),
    ("many files", MULTIPART, |size| {
        let part = file(&"x".repeat(size / 100));
        part.trim_end_matches("--boundary--\r\n").repeat(99) + "--boundary--"
    }),
    ("long headers of many parts", MULTIPART, |size| {
        let name = fill("%22", 7000);
        let part = format!("--boundary\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n\r\n");
        part.repeat((size / 7000).min(900)) + "--boundary--"
    }),
    ("escapes in the headers of many parts", MULTIPART, |size| {
        let name = fill("\\\"", 7000);
        let part = format!("--boundary\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n\r\n");
        part.repeat((size / 7000).min(900)) + "--boundary--"
    }),
    ("parameters in the headers of many parts", MULTIPART, |size| {
        let parameters = fill("; a=b", 7000);
        let part = format!("--boundary\r\nContent-Disposition: form-data; name=a{parameters}\r\n\r\n\r\n");
        part.repeat((size / 7000).min(900)) + "--boundary--"
    }),
];

fn read(form: &Form, size: usize, timeout: Duration) -> (Duration, Execution) {
    let limits = Limits { timeout, memory: 1 << 30, ..Limits::DEFAULT };
    let (_, content_type, body) = form;
    let source = "[ctx.request.form.len(), ctx.request.form_all.len(), ctx.request.files.len()]";
    let call = Call { sdk: SdkVersion::V1_3, limits, ..script(source) }
        .with_request(|request| request.body = body(size).into())
        .header("content-type", content_type);
    let revision = call.revision();
    let begun = cpu_time();
    let execution = call.run_here(&revision).execution;
    (cpu_time().saturating_sub(begun), execution)
}

fn read_whole(form: &Form, size: usize) -> (Duration, u64) {
    let both = (0..2).map(|_| {
        let (taken, execution) = read(form, size, Duration::from_secs(60));
        if let Err(failure) = execution.outcome {
            assert_eq!(failure.kind, FailureKind::InvalidForm, "{}", form.0);
        }
        (taken, execution.memory_peak_bytes)
    });
    both.min().unwrap()
}

#[test]
fn forms_take_linear_time_and_memory() {
    on_a_deep_stack(|| {
        let lines = FORMS.iter().map(|form| {
            let (first, second) = (read_whole(form, 4 * MIB).1, read_whole(form, 8 * MIB).1);
            assert!(second <= 3 * first + MIB as u64, "{}: {first} and {second} bytes", form.0);
            Line::compare(form.0, "1", || (read_whole(form, 4 * MIB).0, read_whole(form, 8 * MIB).0))
        });
        assert_linear(lines.collect());
    });
}

#[test]
fn parsing_stops_at_the_time_limit() {
    on_a_deep_stack(|| {
        let limit = Duration::from_millis(1);
        let slow: Vec<_> = FORMS
            .iter()
            .filter_map(|form| {
                let taken = (0..3).map(|_| read(form, BODY_BYTES_MAX, limit).0).min().unwrap();
                println!("{}: {taken:?}", form.0);
                (taken > limit + OVERSHOOT_MAX).then_some(form.0)
            })
            .collect();
        assert!(slow.is_empty(), "{slow:?}");
    });
}
