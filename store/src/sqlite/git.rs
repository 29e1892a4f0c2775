//! The tables `refs` and `shallow`.

use super::Connections;
use super::apps::key;
use crate::error::StoreError;
use crate::id::{AppId, Oid};
use crate::record::Ref;
use crate::row::hex;

pub(crate) async fn refs(connections: &Connections, app: AppId) -> Result<Vec<Ref>, StoreError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT name, target FROM refs WHERE app = ?1 ORDER BY name")
            .bind(key(app))
            .fetch_all(&connections.read)
            .await?;
    rows.into_iter().map(|(name, target)| Ok(Ref { name, target: hex("refs", &target)? })).collect()
}

pub(crate) async fn shallow(connections: &Connections, app: AppId) -> Result<Vec<Oid>, StoreError> {
    let rows: Vec<(String,)> = sqlx::query_as("SELECT oid FROM shallow WHERE app = ?1 ORDER BY oid")
        .bind(key(app))
        .fetch_all(&connections.read)
        .await?;
    rows.iter().map(|(oid,)| hex("shallow", oid)).collect()
}
