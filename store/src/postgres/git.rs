//! The tables `refs`, `objects` and `shallow`.

use sqlx::PgPool;

use crate::error::StoreError;
use crate::id::{AppId, Oid};
use crate::record::{Object, ObjectKind, Ref};
use crate::row::{hex, key, object_kind};

pub(crate) async fn refs(pool: &PgPool, app: AppId) -> Result<Vec<Ref>, StoreError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT name, target FROM refs WHERE app = $1 ORDER BY name COLLATE \"C\"")
            .bind(app.as_uuid())
            .fetch_all(pool)
            .await?;
    rows.into_iter().map(|(name, target)| Ok(Ref { name, target: hex("refs", &target)? })).collect()
}

pub(crate) async fn shallow(pool: &PgPool, app: AppId) -> Result<Vec<Oid>, StoreError> {
    let rows: Vec<(String,)> = sqlx::query_as("SELECT oid FROM shallow WHERE app = $1 ORDER BY oid")
        .bind(app.as_uuid())
        .fetch_all(pool)
        .await?;
    rows.iter().map(|(oid,)| hex("shallow", oid)).collect()
}

pub(crate) async fn kinds(
    pool: &PgPool,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<(Oid, ObjectKind)>, StoreError> {
    let rows: Vec<(Vec<u8>, String)> =
        sqlx::query_as("SELECT oid, kind FROM objects WHERE app = $1 AND oid = ANY($2)")
            .bind(app.as_uuid())
            .bind(keys(oids))
            .fetch_all(pool)
            .await?;
    rows.into_iter().map(|(oid, kind)| Ok((key(&oid)?, object_kind(&kind)?))).collect()
}

pub(crate) async fn objects(pool: &PgPool, app: AppId, oids: &[Oid]) -> Result<Vec<Object>, StoreError> {
    let rows: Vec<(Vec<u8>, String, i64, Vec<u8>)> =
        sqlx::query_as("SELECT oid, kind, size, zlib FROM objects WHERE app = $1 AND oid = ANY($2)")
            .bind(app.as_uuid())
            .bind(keys(oids))
            .fetch_all(pool)
            .await?;
    rows.into_iter()
        .map(|(oid, kind, size, zlib)| {
            Ok(Object { oid: key(&oid)?, kind: object_kind(&kind)?, size: size.unsigned_abs(), zlib })
        })
        .collect()
}

pub(super) fn keys(oids: &[Oid]) -> Vec<&[u8]> {
    oids.iter().map(|oid| oid.as_bytes().as_slice()).collect()
}
