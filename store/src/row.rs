//! Reading columns that both databases write alike.

use chrono::{DateTime, Utc};
use manifest_schema::name::{AppName, JobName};
use uuid::Uuid;

use crate::audit::{Act, Actor, AuditAction};
use crate::error::StoreError;
use crate::id::{DeployNumber, Oid};
use crate::record::{Generation, Known, NewPush, Object, ObjectKind};
use crate::schedule::{NodeIdentity, Paused, RunOutcome};

/// An object name written as hexadecimal digits.
pub(crate) fn hex(table: &'static str, hex: &str) -> Result<Oid, StoreError> {
    Oid::from_hex(hex).ok_or_else(|| StoreError::Corrupt { table, what: format!("object name {hex}") })
}

/// An object name written as its bytes.
pub(crate) fn key(table: &'static str, bytes: &[u8]) -> Result<Oid, StoreError> {
    let corrupt = |_| StoreError::Corrupt { table, what: format!("object name of {} bytes", bytes.len()) };
    bytes.try_into().map(Oid::new).map_err(corrupt)
}

/// A row of `objects`.
pub(crate) fn object(
    oid: &[u8],
    kind: &str,
    base: Option<&[u8]>,
    depth: i64,
    size: i64,
    zlib: Vec<u8>,
) -> Result<Object, StoreError> {
    let Known { kind, depth } = known(kind, depth)?;
    let size = u64::try_from(size).map_err(|_| objects(format!("size {size}")))?;
    let base = base.map(|base| key("objects", base)).transpose()?;
    Ok(Object { oid: key("objects", oid)?, kind, base, depth, size, zlib })
}

/// The part of a row of `objects` that is known of an object without reading it.
pub(crate) fn known(kind: &str, depth: i64) -> Result<Known, StoreError> {
    Ok(Known {
        kind: ObjectKind::parse(kind).ok_or_else(|| objects(format!("kind {kind}")))?,
        depth: u32::try_from(depth).map_err(|_| objects(format!("depth {depth}")))?,
    })
}

fn objects(what: String) -> StoreError {
    StoreError::Corrupt { table: "objects", what }
}

/// The number of a deploy.
pub(crate) fn deploy_number(number: i64) -> Result<DeployNumber, StoreError> {
    let read = u64::try_from(number).ok().and_then(DeployNumber::new);
    read.ok_or_else(|| StoreError::Corrupt { table: "deploys", what: format!("number {number}") })
}

/// A generation of an app.
pub(crate) fn generation(number: i64, id: Uuid) -> Result<Generation, StoreError> {
    Ok(Generation { number: generation_number(number)?, id })
}

/// The number of a generation.
pub(crate) fn generation_number(generation: i64) -> Result<u64, StoreError> {
    u64::try_from(generation)
        .map_err(|_| StoreError::Corrupt { table: "apps", what: format!("generation {generation}") })
}

/// What a query counted.
pub(crate) fn counted(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// How a run ended.
pub(crate) fn outcome(name: &str) -> Result<RunOutcome, StoreError> {
    RunOutcome::parse(name)
        .ok_or_else(|| StoreError::Corrupt { table: "schedule_runs", what: format!("outcome {name}") })
}

/// The name of a schedule.
pub(crate) fn job_name(name: &str) -> Result<JobName, StoreError> {
    JobName::new(name).map_err(|error| StoreError::Corrupt { table: "schedules", what: error.to_string() })
}

/// An id in a row of `schedule_runs` that is written as text.
pub(crate) fn uuid(id: &str) -> Result<Uuid, StoreError> {
    uuid_of("schedule_runs", id)
}

/// An id that is written as text.
pub(crate) fn uuid_of(table: &'static str, id: &str) -> Result<Uuid, StoreError> {
    id.parse().map_err(|_| StoreError::Corrupt { table, what: format!("id {id}") })
}

/// The hash of a token.
pub(crate) fn token_hash(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    let corrupt = |_| StoreError::Corrupt { table: "tokens", what: format!("hash of {} bytes", bytes.len()) };
    bytes.try_into().map_err(corrupt)
}

/// What a row of `audit` says was done.
pub(crate) fn act(
    by: Actor,
    at: DateTime<Utc>,
    action: &str,
    app: Option<&str>,
    (subject, old, new): (String, Option<String>, Option<String>),
    deploy: Option<i64>,
) -> Result<Act, StoreError> {
    let corrupt = |what: String| StoreError::Corrupt { table: "audit", what };
    Ok(Act {
        by,
        at,
        action: AuditAction::parse(action).ok_or_else(|| corrupt(format!("action {action}")))?,
        app: app.map(AppName::new).transpose().map_err(|error| corrupt(error.to_string()))?,
        subject,
        old,
        new,
        deploy: deploy.map(deploy_number).transpose()?,
    })
}

/// The node that claimed a run.
pub(crate) fn node(id: Option<Uuid>, name: Option<String>) -> Option<NodeIdentity> {
    Some(NodeIdentity { id: id?, name: name? })
}

/// That a schedule is paused.
pub(crate) fn paused(at: Option<DateTime<Utc>>, by: Option<String>) -> Option<Paused> {
    Some(Paused { at: at?, by: by.unwrap_or_default() })
}

/// That the production branch of an app is protected from now on, or not any more.
pub(crate) fn protection(app: &AppName, protected: bool, by: &Actor) -> Act {
    let word = |protected| Some(if protected { "on" } else { "off" }.to_owned());
    Act::new(by, AuditAction::AppSetting, Some(app), "protected").changing(word(!protected), word(protected))
}

/// That the schedules of a preview are run by the clock from now on, or not any more.
pub(crate) fn preview_schedules(app: &AppName, branch: &str, on: bool, by: &Actor) -> Act {
    let word = |on| Some(if on { "on" } else { "off" }.to_owned());
    let subject = format!("schedules of {branch}");
    Act::new(by, AuditAction::AppSetting, Some(app), &subject).changing(word(!on), word(on))
}

/// The acts of a push whose deploys got these numbers, in the order of its refs.
pub(crate) fn acts(push: &NewPush<'_>, created: bool, numbers: &[DeployNumber]) -> Vec<Act> {
    let act = |action, subject: &str| {
        let act = Act::new(&push.by, action, Some(&push.app), subject);
        Act { at: push.at, ..act }
    };
    let named = |oid: Option<Oid>| oid.map(|oid| oid.to_string());
    let moved = push.refs.iter().map(|change| {
        let made = push.deploys.iter().position(|deploy| deploy.branch == branch_of(&change.name));
        let deploy = made.and_then(|at| numbers.get(at).copied());
        let act = act(AuditAction::Push, &change.name).changing(named(change.old), named(change.new));
        Act { deploy, ..act }
    });
    created.then(|| act(AuditAction::AppCreate, push.app.as_str())).into_iter().chain(moved).collect()
}

/// The branch that a ref is, as deploys have it; no deploy has the one of a tag.
pub(crate) fn branch_of(name: &str) -> &str {
    name.strip_prefix("refs/heads/").unwrap_or_default()
}

/// A number as rows have it: both databases have signed ones only.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
