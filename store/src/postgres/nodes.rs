//! The tables `nodes` and `node_generations`. All times are those of the database clock.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::connections::Connections;
use crate::cluster::{
    AppliedGeneration, Disk, Heartbeat, NODE_TIMEOUT, NewNode, Node, NodeGeneration, UnservedApp,
};
use crate::error::StoreError;
use crate::id::AppId;
use crate::model::Generation;
use crate::sql_types::{Unsigned, signed};

/// The channel for changed apps.
pub(crate) const APPS: &str = "picloud_apps";

/// The channel for applied generations.
pub(crate) const GENERATION_APPLIED: &str = "picloud_generation_applied";

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
        "INSERT INTO nodes (id, name, role, version, address, started_at, seen_at, supports_gc)
         VALUES ($1, $2, $3, $4, $5, now(), now(), true)
         ON CONFLICT (id) DO UPDATE SET seen_at = now()",
    )
    .bind(node.id)
    .bind(&node.name)
    .bind(node.role)
    .bind(&node.version)
    .bind(&node.address)
    .execute(connections)
    .await?;
    Ok(())
}

/// Whether all running nodes detect concurrent garbage collection.
pub(crate) async fn all_nodes_support_gc(connections: &Connections) -> Result<bool, StoreError> {
    let all = sqlx::query_scalar(
        "SELECT coalesce(bool_and(supports_gc), true) FROM nodes
         WHERE seen_at >= now() - $1::float8 * interval '1 second'",
    );
    Ok(all.bind(NODE_TIMEOUT.as_secs_f64()).fetch_one(connections).await?)
}

pub(crate) async fn heartbeat(
    connections: &Connections,
    node: Uuid,
    heartbeat: &Heartbeat,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let shown = sqlx::query_scalar(
        "UPDATE nodes SET seen_at = now(), not_ready_reason = $2, disk_free_bytes = $3, disk_size_bytes = $4,
             clock_skew_ms = round(extract(epoch FROM $5::timestamptz - clock_timestamp()) * 1000)
         WHERE id = $1 RETURNING clock_timestamp()",
    )
    .bind(node)
    .bind(&heartbeat.not_ready_reason)
    .bind(heartbeat.disk.map(|disk| signed(disk.free_bytes)))
    .bind(heartbeat.disk.map(|disk| signed(disk.size_bytes)))
    .bind(Utc::now())
    .fetch_optional(connections)
    .await?;
    sqlx::query("DELETE FROM nodes WHERE seen_at < now() - $1::float8 * interval '1 second' AND id <> $2")
        .bind(NODE_TIMEOUT.as_secs_f64())
        .bind(node)
        .execute(connections)
        .await?;
    Ok(shown)
}

pub(crate) async fn leave(connections: &Connections, node: Uuid) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM nodes WHERE id = $1").bind(node).execute(connections).await?;
    Ok(())
}

pub(crate) async fn ack_generations(
    connections: &Connections,
    node: Uuid,
    sequence: u64,
    applied: &[AppliedGeneration],
) -> Result<(), StoreError> {
    let apps: Vec<Uuid> = applied.iter().map(|applied| applied.app.as_uuid()).collect();
    let generations: Vec<i64> = applied.iter().map(|applied| signed(applied.generation.number)).collect();
    let ids: Vec<Uuid> = applied.iter().map(|applied| applied.generation.id).collect();
    let errors: Vec<Option<&str>> = applied.iter().map(|applied| applied.error.as_deref()).collect();
    // The joins skip apps and nodes that are gone. A late report must not overwrite a newer one; `sequence` orders
    // them, because generations decrease when a backup is restored.
    sqlx::query(
        "WITH inserted AS (
             INSERT INTO node_generations (node, repository, generation, generation_id, sequence, applied_at, error)
             SELECT nodes.id, apps.repository, applied.generation, applied.generation_id, $6, now(), applied.error
             FROM unnest($2::uuid[], $3::int8[], $7::uuid[], $4::text[]) AS applied (app, generation, generation_id, error)
             JOIN apps ON apps.id = applied.app JOIN nodes ON nodes.id = $1
             ON CONFLICT (node, repository) DO UPDATE
             SET generation = excluded.generation, generation_id = excluded.generation_id,
                 sequence = excluded.sequence, applied_at = excluded.applied_at, error = excluded.error
             WHERE node_generations.sequence <= excluded.sequence
         )
         SELECT pg_notify($5, '')",
    )
    .bind(node)
    .bind(apps)
    .bind(generations)
    .bind(errors)
    .bind(GENERATION_APPLIED)
    .bind(signed(sequence))
    .bind(ids)
    .execute(connections)
    .await?;
    Ok(())
}

/// The file system of a node.
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
        "SELECT nodes.id, name, role, version, address, started_at, seen_at, not_ready_reason,
             applied.apps_up_to_date, (SELECT count(*) FROM apps WHERE deleted_at IS NULL) - applied.apps_up_to_date AS apps_stale, applied.applied_at,
             clock_skew_ms, disk_free_bytes, disk_size_bytes
         FROM nodes, LATERAL (
             SELECT count(*) FILTER (
                     WHERE error IS NULL AND node_generations.generation = apps.generation
                         AND coalesce(node_generations.generation_id = apps.generation_id, true)
                 ) AS apps_up_to_date,
                 max(applied_at) AS applied_at
             FROM node_generations JOIN apps USING (repository) WHERE node = nodes.id AND apps.deleted_at IS NULL
         ) AS applied
         WHERE seen_at >= now() - $1::float8 * interval '1 second'
         ORDER BY name COLLATE \"C\", id",
    )
    .bind(NODE_TIMEOUT.as_secs_f64())
    .fetch_all(connections)
    .await?;
    Ok(nodes)
}

pub(crate) async fn unserved_apps(
    connections: &Connections,
    limit: u32,
) -> Result<Vec<UnservedApp>, StoreError> {
    let unserved_apps = sqlx::query_as(
        "SELECT nodes.name AS node, apps.name AS app, node_generations.error
         FROM node_generations JOIN nodes ON nodes.id = node_generations.node JOIN apps USING (repository)
         WHERE error IS NOT NULL AND apps.deleted_at IS NULL AND seen_at >= now() - $1::float8 * interval '1 second'
         ORDER BY nodes.name COLLATE \"C\", apps.name COLLATE \"C\" LIMIT $2",
    )
    .bind(NODE_TIMEOUT.as_secs_f64())
    .bind(i64::from(limit))
    .fetch_all(connections)
    .await?;
    Ok(unserved_apps)
}

pub(crate) async fn node_generations(
    connections: &Connections,
    app: AppId,
    generation: Generation,
) -> Result<Vec<NodeGeneration>, StoreError> {
    // A node counts if it applied the requested generation of the current history, or a later one. Nodes of early
    // versions have no generation ids.
    let generations = sqlx::query_as(
        "SELECT nodes.id AS node, nodes.name, coalesce(
                 CASE node_generations.generation
                     WHEN $3 THEN coalesce(node_generations.generation_id = $4, true)
                         AND (apps.generation > $3 OR apps.generation = $3 AND apps.generation_id = $4)
                     WHEN apps.generation THEN coalesce(node_generations.generation_id = apps.generation_id, true)
                         AND apps.generation > $3
                     ELSE node_generations.generation > $3 AND node_generations.generation < apps.generation
                 END, false) AS up_to_date,
             node_generations.error
         FROM nodes JOIN apps ON apps.id = $1
         LEFT JOIN node_generations ON node_generations.node = nodes.id AND node_generations.repository = apps.repository
         WHERE seen_at >= now() - $2::float8 * interval '1 second'
         ORDER BY nodes.name COLLATE \"C\", nodes.id",
    )
    .bind(app.as_uuid())
    .bind(NODE_TIMEOUT.as_secs_f64())
    .bind(signed(generation.number))
    .bind(generation.id)
    .fetch_all(connections)
    .await?;
    Ok(generations)
}
