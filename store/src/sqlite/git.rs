//! The tables `refs`, `objects` and `shallow`.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder};

use super::Connections;
use super::apps::key as app_key;
use crate::error::StoreError;
use crate::id::{AppId, Oid};
use crate::record::{Object, ObjectKind, Ref};
use crate::row::{hex, key, object_kind};

/// How many objects are asked for at once: SQLite takes 32,766 variables, and large answers are held in memory.
const OIDS_AT_ONCE: usize = 1000;

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
    let rows: Vec<(Vec<u8>, String)> =
        among(connections, "SELECT oid, kind FROM objects WHERE app = ", app, oids).await?;
    rows.into_iter().map(|(oid, kind)| Ok((key(&oid)?, object_kind(&kind)?))).collect()
}

pub(crate) async fn objects(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<Object>, StoreError> {
    let rows: Vec<(Vec<u8>, String, i64, Vec<u8>)> =
        among(connections, "SELECT oid, kind, size, zlib FROM objects WHERE app = ", app, oids).await?;
    rows.into_iter()
        .map(|(oid, kind, size, zlib)| {
            Ok(Object { oid: key(&oid)?, kind: object_kind(&kind)?, size: size.unsigned_abs(), zlib })
        })
        .collect()
}

/// The rows of `app` whose `oid` is among `oids`; `select` ends in `WHERE app = `.
async fn among<T>(
    connections: &Connections,
    select: &str,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<T>, StoreError>
where
    T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let mut rows = Vec::new();
    for some in oids.chunks(OIDS_AT_ONCE) {
        let mut query = QueryBuilder::new(select);
        query.push_bind(app_key(app)).push(" AND oid IN (");
        let mut list = query.separated(", ");
        some.iter().for_each(|oid| {
            list.push_bind(oid.as_bytes().as_slice());
        });
        query.push(")");
        rows.extend(query.build_query_as::<T>().fetch_all(&connections.read).await?);
    }
    Ok(rows)
}
