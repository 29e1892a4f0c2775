//! What the tests write: small, and alike from test to test.

use chrono::{DateTime, Utc};
use manifest_schema::name::{AppName, JobName, ScriptPath};
use store::{
    AppId, DeployNumber, NewDeploy, NewPush, NewRevision, NewRun, Object, ObjectKind, Oid, RefChange, Script,
};
use uuid::Uuid;

pub(crate) fn oid(digit: u8) -> Oid {
    Oid::new([digit; 20])
}

pub(crate) fn app() -> AppName {
    AppName::new("hello").unwrap()
}

pub(crate) fn tick() -> JobName {
    JobName::new("tick").unwrap()
}

pub(crate) fn noon() -> DateTime<Utc> {
    "2026-05-01T12:00:00Z".parse().unwrap()
}

pub(crate) fn commit(digit: u8) -> Object {
    Object { oid: oid(digit), kind: ObjectKind::Commit, size: 3, zlib: vec![digit; 7] }
}

pub(crate) fn revision(digit: u8) -> NewRevision {
    NewRevision {
        commit: oid(digit),
        sdk: "1.1".to_owned(),
        subject: format!("subject {digit}"),
        author: "Ada".to_owned(),
        manifest: "sdk = \"1.1\"".to_owned(),
        scripts: vec![Script { path: ScriptPath::new("a/b.rhai").unwrap(), source: format!("{digit}") }],
        validated_at: noon(),
    }
}

/// A push that moves main from `old` to `new` and makes it live.
pub(crate) fn push(old: Option<u8>, new: u8) -> NewPush {
    NewPush {
        app: app(),
        may_create: true,
        by: "ada".to_owned(),
        at: noon(),
        refs: vec![RefChange { name: "refs/heads/main".to_owned(), old: old.map(oid), new: Some(oid(new)) }],
        objects: vec![commit(new)],
        shallow: Vec::new(),
        revisions: vec![revision(new)],
        deploys: vec![NewDeploy { branch: "main".to_owned(), commit: oid(new) }],
    }
}

pub(crate) fn creating(name: &str, target: u8) -> RefChange {
    RefChange { name: name.to_owned(), old: None, new: Some(oid(target)) }
}

pub(crate) fn refs_only(refs: Vec<RefChange>) -> NewPush {
    NewPush { refs, revisions: Vec::new(), deploys: Vec::new(), ..push(None, 1) }
}

pub(crate) fn number(number: u64) -> DeployNumber {
    DeployNumber::new(number).unwrap()
}

pub(crate) fn run(id: AppId, deploy: u64, due: DateTime<Utc>) -> NewRun {
    let execution = Uuid::new_v4();
    NewRun { app: id, schedule: tick(), due, deploy: number(deploy), execution, claimed_at: due }
}
