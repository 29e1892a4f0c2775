//! The tables `refs`, `objects` and `shallow`.

use super::Connections;
use super::apps::key as app_key;
use crate::error::StoreError;
use crate::id::{AppId, Oid};
use crate::record::{Object, ObjectKind, Ref};
use crate::row::{hex, key, object_kind};

pub(crate) async fn refs(connections: &Connections, app: AppId) -> Result<Vec<Ref>, StoreError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT name, target FROM refs WHERE app = ?1 ORDER BY name")
            .bind(app_key(app))
            .fetch_all(&connections.read)
            .await?;
    rows.into_iter().map(|(name, target)| Ok(Ref { name, target: hex("refs", &target)? })).collect()
}

pub(crate) async fn shallow(connections: &Connections, app: AppId) -> Result<Vec<Oid>, StoreError> {
    let rows: Vec<(String,)> = sqlx::query_as("SELECT oid FROM shallow WHERE app = ?1 ORDER BY oid")
        .bind(app_key(app))
        .fetch_all(&connections.read)
        .await?;
    rows.iter().map(|(oid,)| hex("shallow", oid)).collect()
}

pub(crate) async fn kinds(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<(Oid, ObjectKind)>, StoreError> {
    let rows: Vec<(Vec<u8>, String)> = sqlx::query_as(
        "SELECT oid, kind FROM objects WHERE app = ?1 AND oid IN (SELECT unhex(value) FROM json_each(?2))",
    )
    .bind(app_key(app))
    .bind(keys(oids))
    .fetch_all(&connections.read)
    .await?;
    rows.into_iter().map(|(oid, kind)| Ok((key(&oid)?, object_kind(&kind)?))).collect()
}

pub(crate) async fn objects(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<Object>, StoreError> {
    let rows: Vec<(Vec<u8>, String, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT oid, kind, size, zlib FROM objects
         WHERE app = ?1 AND oid IN (SELECT unhex(value) FROM json_each(?2))",
    )
    .bind(app_key(app))
    .bind(keys(oids))
    .fetch_all(&connections.read)
    .await?;
    rows.into_iter()
        .map(|(oid, kind, size, zlib)| {
            Ok(Object { oid: key(&oid)?, kind: object_kind(&kind)?, size: size.unsigned_abs(), zlib })
        })
        .collect()
}

/// A JSON array of the names: SQLite binds no arrays, and a variable each would bound how many may be asked for.
fn keys(oids: &[Oid]) -> String {
    let names: Vec<String> = oids.iter().map(|oid| format!("\"{oid}\"")).collect();
    format!("[{}]", names.join(","))
}
