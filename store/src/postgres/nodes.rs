//! The tables `nodes` and `served`. Times are those of the database's clock: nodes' own may differ.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::connections::Connections;
use crate::cluster::{Disk, GONE_AFTER, Heartbeat, NewNode, Node, NotServed, Serving, TakenUp};
use crate::column::{Unsigned, signed};
use crate::error::StoreError;
use crate::id::AppId;
use crate::record::Generation;

/// The channel on which a push names its app.
pub(crate) const APPS: &str = "picloud_apps";

/// The channel on which a node says that it has taken something up.
pub(crate) const TAKEN_UP: &str = "picloud_taken_up";

pub(crate) async fn replace(connections: &Connections, node: &NewNode) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM nodes WHERE name = $1 AND id <> $2")
        .bind(&node.name)
        .bind(node.id)
        .execute(connections)
        .await?;
    Ok(())
}

pub(crate) async fn join(connections: &Connections, node: &NewNode) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO nodes (id, name, role, program, address, started_at, seen_at, notices_deletions)
         VALUES ($1, $2, $3, $4, $5, now(), now(), true)
         ON CONFLICT (id) DO UPDATE SET seen_at = now()",
    )
    .bind(node.id)
    .bind(&node.name)
    .bind(node.role)
    .bind(&node.program)
    .bind(&node.address)
    .execute(connections)
    .await?;
    Ok(())
}

/// Whether the pushes of all nodes that are there notice when objects are deleted.
pub(crate) async fn all_notice_deletions(connections: &Connections) -> Result<bool, StoreError> {
    let all = sqlx::query_scalar(
        "SELECT coalesce(bool_and(notices_deletions), true) FROM nodes
         WHERE seen_at >= now() - $1::float8 * interval '1 second'",
    );
    Ok(all.bind(GONE_AFTER.as_secs_f64()).fetch_one(connections).await?)
}

pub(crate) async fn beat(
    connections: &Connections,
    node: Uuid,
    heartbeat: &Heartbeat,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let shown = sqlx::query_scalar(
        "UPDATE nodes SET seen_at = now(), trouble = $2, disk_free_bytes = $3, disk_size_bytes = $4,
             clock_skew_ms = round(extract(epoch FROM $5::timestamptz - clock_timestamp()) * 1000)
         WHERE id = $1 RETURNING clock_timestamp()",
    )
    .bind(node)
    .bind(&heartbeat.trouble)
    .bind(heartbeat.disk.map(|disk| signed(disk.free_bytes)))
    .bind(heartbeat.disk.map(|disk| signed(disk.size_bytes)))
    .bind(Utc::now())
    .fetch_optional(connections)
    .await?;
    sqlx::query("DELETE FROM nodes WHERE seen_at < now() - $1::float8 * interval '1 second' AND id <> $2")
        .bind(GONE_AFTER.as_secs_f64())
        .bind(node)
        .execute(connections)
        .await?;
    Ok(shown)
}

pub(crate) async fn leave(connections: &Connections, node: Uuid) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM nodes WHERE id = $1").bind(node).execute(connections).await?;
    Ok(())
}

pub(crate) async fn take_up(
    connections: &Connections,
    node: Uuid,
    sequence: u64,
    taken: &[TakenUp],
) -> Result<(), StoreError> {
    let apps: Vec<Uuid> = taken.iter().map(|taken| taken.app.as_uuid()).collect();
    let generations: Vec<i64> = taken.iter().map(|taken| signed(taken.generation.number)).collect();
    let ids: Vec<Uuid> = taken.iter().map(|taken| taken.generation.id).collect();
    let faults: Vec<Option<&str>> = taken.iter().map(|taken| taken.fault.as_deref()).collect();
    // An app or a node that is gone meanwhile has nothing to be said of. What is said late says nothing newer; numbers of
    // generations do not tell that, since they fall where the database is set back.
    sqlx::query(
        "WITH said AS (
             INSERT INTO served (node, repository, generation, generation_id, sequence, since, fault)
             SELECT nodes.id, apps.repository, taken.generation, taken.generation_id, $6, now(), taken.fault
             FROM unnest($2::uuid[], $3::int8[], $7::uuid[], $4::text[]) AS taken (app, generation, generation_id, fault)
             JOIN apps ON apps.id = taken.app JOIN nodes ON nodes.id = $1
             ON CONFLICT (node, repository) DO UPDATE
             SET generation = excluded.generation, generation_id = excluded.generation_id,
                 sequence = excluded.sequence, since = excluded.since, fault = excluded.fault
             WHERE served.sequence <= excluded.sequence
         )
         SELECT pg_notify($5, '')",
    )
    .bind(node)
    .bind(apps)
    .bind(generations)
    .bind(faults)
    .bind(TAKEN_UP)
    .bind(signed(sequence))
    .bind(ids)
    .execute(connections)
    .await?;
    Ok(())
}

/// How full the file system of a node is, as it last said.
#[derive(sqlx::FromRow)]
pub(crate) struct DiskColumns {
    disk_free_bytes: Option<Unsigned<u64>>,
    disk_size_bytes: Option<Unsigned<u64>>,
}

impl From<DiskColumns> for Option<Disk> {
    fn from(DiskColumns { disk_free_bytes, disk_size_bytes }: DiskColumns) -> Self {
        Some(Disk { free_bytes: disk_free_bytes?.0, size_bytes: disk_size_bytes?.0 })
    }
}

pub(crate) async fn nodes(connections: &Connections) -> Result<Vec<Node>, StoreError> {
    let nodes = sqlx::query_as(
        "SELECT nodes.id, name, role, program, address, started_at, seen_at, trouble,
             said.current, (SELECT count(*) FROM apps WHERE deleted_at IS NULL) - said.current AS behind, said.since,
             clock_skew_ms, disk_free_bytes, disk_size_bytes
         FROM nodes, LATERAL (
             SELECT count(*) FILTER (
                     WHERE fault IS NULL AND served.generation = apps.generation
                         AND coalesce(served.generation_id = apps.generation_id, true)
                 ) AS current,
                 max(since) AS since
             FROM served JOIN apps USING (repository) WHERE node = nodes.id AND apps.deleted_at IS NULL
         ) AS said
         WHERE seen_at >= now() - $1::float8 * interval '1 second'
         ORDER BY name COLLATE \"C\", id",
    )
    .bind(GONE_AFTER.as_secs_f64())
    .fetch_all(connections)
    .await?;
    Ok(nodes)
}

pub(crate) async fn not_served(connections: &Connections, limit: u32) -> Result<Vec<NotServed>, StoreError> {
    let not_served = sqlx::query_as(
        "SELECT nodes.name AS node, apps.name AS app, served.fault
         FROM served JOIN nodes ON nodes.id = served.node JOIN apps USING (repository)
         WHERE fault IS NOT NULL AND apps.deleted_at IS NULL AND seen_at >= now() - $1::float8 * interval '1 second'
         ORDER BY nodes.name COLLATE \"C\", apps.name COLLATE \"C\" LIMIT $2",
    )
    .bind(GONE_AFTER.as_secs_f64())
    .bind(i64::from(limit))
    .fetch_all(connections)
    .await?;
    Ok(not_served)
}

pub(crate) async fn serving(
    connections: &Connections,
    app: AppId,
    generation: Generation,
) -> Result<Vec<Serving>, StoreError> {
    // Where the app is at a later generation, that one counts, and those on the way to it. A node of an older PiCloud
    // knows no ids.
    let serving = sqlx::query_as(
        "SELECT nodes.id AS node, nodes.name, coalesce(
                 CASE served.generation
                     WHEN $3 THEN coalesce(served.generation_id = $4, true)
                         AND (apps.generation > $3 OR apps.generation = $3 AND apps.generation_id = $4)
                     WHEN apps.generation THEN coalesce(served.generation_id = apps.generation_id, true)
                         AND apps.generation > $3
                     ELSE served.generation > $3 AND served.generation < apps.generation
                 END, false) AS there,
             served.fault
         FROM nodes JOIN apps ON apps.id = $1
         LEFT JOIN served ON served.node = nodes.id AND served.repository = apps.repository
         WHERE seen_at >= now() - $2::float8 * interval '1 second'
         ORDER BY nodes.name COLLATE \"C\", nodes.id",
    )
    .bind(app.as_uuid())
    .bind(GONE_AFTER.as_secs_f64())
    .bind(signed(generation.number))
    .bind(generation.id)
    .fetch_all(connections)
    .await?;
    Ok(serving)
}
