//! `docs/guides/`: the files of each guide are an app without findings, and `curl` shows what the guide says.

use std::collections::{BTreeMap, BTreeSet};

use manifest_schema::limits::Ceiling;
use manifest_schema::manifest::Manifest;
use manifest_schema::method::Method;
use manifest_schema::parse::{ParseContext, parse};
use manifest_schema::sdk::SdkVersion;
use runtime::RouteOutcome;

use super::reference::{named_files, with_templates};
use super::{Call, Diagnostics, blocks, by_severity, holds_in, read, root, script, statements};

/// The server of all guides.
const SERVER: &str = "http://pi:8080";

/// An app as a guide shows it.
struct Guide {
    name: String,
    files: BTreeMap<String, String>,
    manifest: Manifest,
}

/// The cookies of `curl -c jar` and `-b jar`.
type Jar = Vec<(String, String)>;

impl Guide {
    fn open(name: &str, document: &str) -> Self {
        let files = named_files(document);
        let scripts: BTreeSet<String> =
            files.keys().filter(|path| path.ends_with(".rhai")).cloned().collect();
        let context = ParseContext::new(&Ceiling::DEFAULT, &scripts);
        let parsed = parse(files["picloud.toml"].as_bytes(), context);
        let manifest = parsed.unwrap_or_else(|error| panic!("{name}: {:?}", error.diagnostics)).manifest;
        Self { name: name.to_owned(), files, manifest }
    }

    /// A call of one of its scripts.
    fn call(&self, path: &str) -> Call {
        let leaked = |text: &str| -> &'static str { text.to_owned().leak() };
        let others = self.files.iter().filter(|(other, _)| other.ends_with(".rhai") && *other != path);
        let call = Call {
            script: path.to_owned(),
            libraries: others.map(|(path, text)| (leaked(path), leaked(text))).collect(),
            sdk: SdkVersion::V1_3,
            secrets: self.manifest.secrets.required.iter().map(|name| secret(name.as_str())).collect(),
            ..script(&self.files[path])
        };
        with_templates(call, &self.files)
    }

    /// What `curl` prints, with the cookies that it keeps.
    fn curl(&self, arguments: &[String], jar: &mut Jar) -> String {
        let (mut method, mut body, mut headers, mut url) = (Method::Get, String::new(), Vec::new(), "");
        let (mut keeps, mut format, mut cookies) = (false, "", Vec::new());
        let mut words = arguments.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap();
            match word {
                "-d" => (method, body) = (Method::Post, value().to_owned()),
                "-H" => headers.push(value().split_once(": ").unwrap()),
                "-w" => format = value(),
                "-c" => keeps = value() == "jar",
                "-b" => match value() {
                    "jar" => cookies.extend(jar.iter().map(|(name, value)| format!("{name}={value}"))),
                    pair => cookies.push(pair.to_owned()),
                },
                address => url = address,
            }
        }
        let base = format!("/{}", self.name);
        let target = url.strip_prefix(SERVER).and_then(|path| path.strip_prefix(base.as_str())).unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let routes = self.manifest.routes.iter().filter(|route| route.methods.contains(method));
        let call = routes
            .map(|route| (route.path.to_string(), self.call(route.script.as_str())))
            .find(|(route, call)| {
                let revision = call.revision_with(vec![route.clone()]);
                matches!(revision.route(method.as_str(), path), RouteOutcome::Script(_))
            })
            .map(|(route, call)| call.routed(&route, target));
        let mut call = call.unwrap_or_else(|| panic!("{}: {target} is not routed", self.name));
        for (name, value) in &headers {
            call = call.header(name, value);
        }
        if !cookies.is_empty() {
            call = call.header("cookie", &cookies.join("; "));
        }
        if method == Method::Post && !headers.iter().any(|(name, _)| *name == "content-type") {
            call = call.header("content-type", "application/x-www-form-urlencoded");
        }
        let call = call.with_request(|request| {
            request.method = method;
            request.query = query.to_owned();
            request.body = body.into();
            request.origin.base = base;
        });
        let response = call.response();
        let mut location = String::new();
        for (name, value) in &response.headers {
            if name == "set-cookie" && keeps {
                let (name, value) = value.split(';').next().and_then(|pair| pair.split_once('=')).unwrap();
                jar.push((name.to_owned(), value.to_owned()));
            }
            if name == "location" {
                location = format!("{SERVER}{value}");
            }
        }
        let written = format
            .replace("%{http_code}", &response.status.to_string())
            .replace("%{redirect_url}", &location);
        format!("{}{written}", String::from_utf8_lossy(&response.body))
    }
}

/// The value of a secret as the guide sets it.
fn secret(name: &str) -> (&'static str, &'static str) {
    match name {
        "GITHUB_SECRET" => ("GITHUB_SECRET", "tangerine"),
        "PASSWORD_HASH" => {
            let call = script("crypto::hash_password(\"correct horse\")");
            let hash = Call { sdk: SdkVersion::V1_3, ..call }.text();
            ("PASSWORD_HASH", hash.trim_matches('"').to_owned().leak())
        }
        name => panic!("no value of {name}"),
    }
}

/// The words of a command; single quotes keep spaces.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in command.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// The commands of a block with what they print.
fn commands(block: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), String::new())),
            (None, Some((_, printed))) => {
                printed.push_str(line);
                printed.push('\n');
            }
            (None, None) => panic!("no command before {line}"),
        }
    }
    commands
}

fn check(page: &str, document: &str) {
    let created = document.split_once("(`mkdir ").and_then(|(_, rest)| rest.split_once(' '));
    let (name, _) = created.unwrap_or_else(|| panic!("{page}: begins with no folder"));
    let guide = Guide::open(name, document);
    for path in guide.files.keys().filter(|path| path.ends_with(".rhai")) {
        let named = guide.manifest.scripts().iter().any(|script| script.as_str() == path);
        if !named {
            continue;
        }
        let call = guide.call(path);
        let found: Diagnostics =
            call.check().map_or_else(|found| found, |(script, _)| script.warnings().clone());
        assert_eq!(by_severity(&found), (Vec::new(), Vec::new()), "{page}: {path}");
        let place = format!("{page}: {path}");
        if !statements(&place, &call.source).is_empty() {
            holds_in(&call, &place);
        }
    }
    let (mut calls, mut jar) = (0, Jar::new());
    for (line, block) in blocks(document, "console") {
        for (command, printed) in commands(&block) {
            let Some(arguments) = command.strip_prefix("curl ") else {
                assert!(command.starts_with("git ") || command.starts_with("picloud "), "{page}: {command}");
                continue;
            };
            let shown = guide.curl(&words(arguments), &mut jar);
            let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
            assert_eq!(trimmed(shown.trim_end()), trimmed(printed.trim_end()), "{page}:{line}: {command}");
            calls += 1;
        }
    }
    assert!(calls > 0, "{page}: nobody calls the app");
}

#[test]
fn guides_work_as_they_say() {
    let mut guides = 0;
    for file in std::fs::read_dir(root().join("docs/guides")).unwrap() {
        let path = file.unwrap().path();
        check(&path.file_name().unwrap().to_string_lossy(), &read(&path));
        guides += 1;
    }
    assert!(guides >= 4, "{guides}");
}
