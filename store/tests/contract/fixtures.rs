//! Small sample data for all tests.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::name::{AppName, JobName};
use store::{
    Actor, AppId, AuditAction, AuditEvent, ClaimAction, DeclaredSchedule, DeployNumber, DueRange, NewDeploy,
    NewPush, NewRevision, NewRun, NodeIdentity, Object, ObjectKind, Oid, RefChange, RunKey, ScheduleId,
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
    let (kind, zlib) = (ObjectKind::Commit, vec![digit; 7]);
    Object { oid: oid(digit), kind, base: None, depth: 0, size: 3, zlib }
}

/// A blob; `numbered` names sort by number.
pub(crate) fn blob(number: u32, bytes: usize) -> Object {
    let (oid, kind) = (numbered(number), ObjectKind::Blob);
    Object { oid, kind, base: None, depth: 0, size: 1, zlib: vec![2; bytes] }
}

pub(crate) fn numbered(number: u32) -> Oid {
    let mut name = [0xaa; 20];
    name[..4].copy_from_slice(&number.to_be_bytes());
    Oid::new(name)
}

/// The object as a delta.
pub(crate) fn delta(object: Object, base: &Object) -> Object {
    Object { base: Some(base.oid), depth: base.depth + 1, ..object }
}

/// Leaks the objects, so that pushes are `'static`.
pub(crate) fn kept(objects: Vec<Object>) -> &'static Vec<Object> {
    Box::leak(Box::new(objects))
}

pub(crate) fn revision(digit: u8) -> NewRevision {
    NewRevision {
        commit: oid(digit),
        sdk: "1.1".to_owned(),
        subject: format!("subject {digit}"),
        author: "Ada".to_owned(),
        validated_at: noon(),
    }
}

/// A push that moves main from `old` to `new` and deploys it.
pub(crate) fn push(old: Option<u8>, new: u8) -> NewPush<'static> {
    NewPush {
        app: app(),
        may_create: true,
        new_app: AppId::random(),
        by: Actor::named("ada"),
        at: noon(),
        node: None,
        refs: vec![RefChange { name: "refs/heads/main".to_owned(), old: old.map(oid), new: Some(oid(new)) }],
        objects: kept(vec![commit(new)]),
        gc_id: None,
        dangling: Vec::new(),
        shallow: Vec::new(),
        unshallow: Vec::new(),
        revisions: vec![revision(new)],
        deploys: vec![NewDeploy { branch: "main".to_owned(), commit: oid(new) }],
        domains: None,
        proven: Vec::new(),
        requires: Vec::new(),
        message: None,
        limits: store::PushLimits::NONE,
    }
}

pub(crate) fn creating(name: &str, target: u8) -> RefChange {
    RefChange { name: name.to_owned(), old: None, new: Some(oid(target)) }
}

pub(crate) fn refs_only(refs: Vec<RefChange>) -> NewPush<'static> {
    NewPush { refs, revisions: Vec::new(), deploys: Vec::new(), ..push(None, 1) }
}

pub(crate) fn number(number: u64) -> DeployNumber {
    DeployNumber::new(number).unwrap()
}

/// The schedule `tick` in production.
pub(crate) fn of(app: AppId) -> ScheduleId {
    ScheduleId { app, branch: "main".to_owned(), name: tick() }
}

/// A claim of the schedule `tick` at its due time.
pub(crate) fn run(id: AppId, deploy: u64, due: DateTime<Utc>) -> NewRun {
    NewRun {
        runs_per_minute: u32::MAX,
        schedule: of(id),
        due: DueRange::one(due),
        manual: false,
        forbid_overlap: true,
        deploy: number(deploy),
        action: ClaimAction::Run { execution: Uuid::new_v4(), lease: Duration::from_secs(60) },
        node: node("pi"),
        now: Utc::now(),
        evaluated_ahead_max: TimeDelta::hours(3),
    }
}

/// The row of a claim.
pub(crate) fn key(run: &NewRun) -> RunKey {
    let ClaimAction::Run { execution, .. } = run.action else { panic!("nothing is run") };
    RunKey { schedule: run.schedule.clone(), due_at: run.due.last, manual: run.manual, execution }
}

pub(crate) fn node(name: &str) -> NodeIdentity {
    NodeIdentity { id: Uuid::from_u128(7), name: name.to_owned() }
}

pub(crate) fn declared(cron: &str) -> DeclaredSchedule {
    DeclaredSchedule { name: tick(), cron: cron.to_owned(), timezone: "UTC".to_owned() }
}

/// An audit event for the schedule `tick`.
pub(crate) fn act(action: AuditAction, by: &str, at: DateTime<Utc>) -> AuditEvent {
    AuditEvent { at, ..AuditEvent::new(&Actor::named(by), action, Some(&app()), "tick") }
}

pub(crate) fn pausing(by: &str, at: DateTime<Utc>) -> AuditEvent {
    act(AuditAction::SchedulePause, by, at)
}

pub(crate) fn resuming(at: DateTime<Utc>) -> AuditEvent {
    act(AuditAction::ScheduleResume, "ada", at)
}
