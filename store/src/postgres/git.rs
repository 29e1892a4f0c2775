//! The tables `refs` and `shallow`.

use super::connections::Connections;
use crate::error::StoreError;
use crate::id::{AppId, Oid};
use crate::record::Ref;
use crate::row::hex;

pub(crate) async fn refs(connections: &Connections, app: AppId) -> Result<Vec<Ref>, StoreError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT name, target FROM refs WHERE app = $1 ORDER BY name COLLATE \"C\"")
            .bind(app.as_uuid())
            .fetch_all(connections)
            .await?;
    rows.into_iter().map(|(name, target)| Ok(Ref { name, target: hex("refs", &target)? })).collect()
}

pub(crate) async fn shallow(connections: &Connections, app: AppId) -> Result<Vec<Oid>, StoreError> {
    let rows: Vec<(String,)> = sqlx::query_as("SELECT oid FROM shallow WHERE app = $1 ORDER BY oid")
        .bind(app.as_uuid())
        .fetch_all(connections)
        .await?;
    rows.iter().map(|(oid,)| hex("shallow", oid)).collect()
}
