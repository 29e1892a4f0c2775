//! Encoding and decoding of column values. Both databases use the same types, except for ids: `uuid` in PostgreSQL,
//! text in SQLite.
//!
//! An invalid value in a column is a decode error, which becomes [`StoreError::Corrupt`].
//!
//! [`StoreError::Corrupt`]: crate::StoreError::Corrupt

use std::time::Duration;

use manifest_schema::execution::{LogLevel, TriggerKind};
use manifest_schema::name::{AppName, DomainName, JobName};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgHasArrayType, PgTypeInfo};
use sqlx::{Database, Decode, Encode, Postgres, Sqlite, Type};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::audit::AuditAction;
use crate::domain::DomainProof;
use crate::id::{AppId, CommitId, DeployNumber, Oid};
use crate::model::ObjectKind;
use crate::schedule::RunOutcome;
use crate::secret::Environment;
use crate::state::NamespaceName;

/// A UUID. sqlx itself would store bytes in SQLite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Id(pub(crate) Uuid);

/// An object name as hexadecimal digits. [`Oid`] itself is stored as bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HexOid(pub(crate) Oid);

/// A validated name as text.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) T);

/// An unsigned number. Both databases only have signed ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsigned<T>(pub(crate) T);

/// The SHA-256 of a token.
#[derive(Debug)]
pub(crate) struct TokenHash([u8; 32]);

/// A duration in microseconds.
#[derive(Debug, sqlx::Type)]
#[sqlx(transparent)]
pub(crate) struct Microseconds(i64);

/// A nullable column, to be converted to an `Option` of another type.
#[derive(Debug, sqlx::Type)]
#[sqlx(transparent, no_pg_array)]
pub(crate) struct Maybe<T>(Option<T>);

/// Implements encoding and decoding by way of another type.
macro_rules! stored_as {
    ($type:ty as $stored:ty, from $lent:ty, in $($database:ty),+; $write:expr; $read:expr) => {$(
        impl Type<$database> for $type {
            fn type_info() -> <$database as Database>::TypeInfo {
                <$stored as Type<$database>>::type_info()
            }

            fn compatible(info: &<$database as Database>::TypeInfo) -> bool {
                <$stored as Type<$database>>::compatible(info)
            }
        }

        impl Encode<'_, $database> for $type {
            fn encode_by_ref(
                &self,
                buffer: &mut <$database as Database>::ArgumentBuffer,
            ) -> Result<IsNull, BoxDynError> {
                let write: fn(&$type) -> $stored = $write;
                <$stored as Encode<$database>>::encode(write(self), buffer)
            }
        }

        impl<'r> Decode<'r, $database> for $type {
            fn decode(value: <$database as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
                let read: fn($lent) -> Result<$type, BoxDynError> = $read;
                read(<$lent as Decode<'r, $database>>::decode(value)?)
            }
        }
    )+};
}

stored_as!(Id as Uuid, from Uuid, in Postgres; |id| id.0; |id| Ok(Id(id)));
stored_as!(Id as Hyphenated, from Hyphenated, in Sqlite; |id| id.0.hyphenated(); |id| Ok(Id(id.into())));
stored_as!(
    AppId as Id, from Id, in Postgres, Sqlite;
    |app| Id(app.as_uuid());
    |id| Ok(AppId::from_uuid(id.0))
);
stored_as!(
    CommitId as Id, from Id, in Postgres, Sqlite;
    |commit| Id(commit.as_uuid());
    |id| Ok(CommitId::from_uuid(id.0))
);
stored_as!(Oid as Vec<u8>, from &'r [u8], in Postgres, Sqlite; |oid| oid.as_bytes().to_vec(); oid);
stored_as!(
    HexOid as String, from &'r str, in Postgres, Sqlite;
    |oid| oid.0.to_string();
    |hex| Oid::from_hex(hex).map(HexOid).ok_or_else(|| format!("object name {hex}").into())
);
stored_as!(
    TokenHash as Vec<u8>, from &'r [u8], in Postgres, Sqlite;
    |hash| hash.0.to_vec();
    |bytes| bytes.try_into().map(TokenHash).map_err(|_| format!("hash of {} bytes", bytes.len()).into())
);
stored_as!(
    Unsigned<u64> as i64, from i64, in Postgres, Sqlite;
    |number| signed(number.0);
    |number| number.try_into().map(Unsigned).map_err(|_| format!("number {number}").into())
);
stored_as!(
    Unsigned<u32> as i32, from i32, in Postgres, Sqlite;
    |number| signed_small(number.0);
    |number| number.try_into().map(Unsigned).map_err(|_| format!("number {number}").into())
);
stored_as!(
    Unsigned<u16> as i32, from i32, in Postgres, Sqlite;
    |number| number.0.into();
    |number| number.try_into().map(Unsigned).map_err(|_| format!("number {number}").into())
);
stored_as!(
    DeployNumber as i64, from i64, in Postgres, Sqlite;
    |number| signed(number.get());
    |number| {
        let read = u64::try_from(number).ok().and_then(DeployNumber::new);
        read.ok_or_else(|| format!("deploy number {number}").into())
    }
);

stored_as!(
    NamespaceName as String, from &'r str, in Postgres, Sqlite;
    |name| name.to_string();
    |text| NamespaceName::parse(text).ok_or_else(|| format!("namespace {text}").into())
);

/// Implements encoding and decoding of validated names as text.
macro_rules! stored_as_text {
    ($($type:ty),+) => {$(
        stored_as!(
            Named<$type> as String, from &'r str, in Postgres, Sqlite;
            |name| name.0.as_str().to_owned();
            |name| Ok(Named(<$type>::new(name)?))
        );

        impl From<Named<$type>> for $type {
            fn from(name: Named<$type>) -> Self {
                name.0
            }
        }
    )+};
}

stored_as_text!(AppName, DomainName, JobName);

/// Implements encoding and decoding of enums by name.
macro_rules! stored_by_name {
    ($($type:ty),+) => {$(
        stored_as!(
            $type as &'static str, from &'r str, in Postgres, Sqlite;
            |value| value.as_str();
            |name| <$type>::parse(name).ok_or_else(|| format!("unknown name {name}").into())
        );
    )+};
}

stored_by_name!(AuditAction, DomainProof, Environment, ObjectKind, RunOutcome);

/// Like `stored_by_name`, for enums of another crate.
macro_rules! named_elsewhere {
    ($($type:ty),+) => {$(
        stored_as!(
            Named<$type> as &'static str, from &'r str, in Postgres, Sqlite;
            |value| value.0.as_str();
            |name| <$type>::parse(name).map(Named).ok_or_else(|| format!("unknown name {name}").into())
        );

        impl From<Named<$type>> for $type {
            fn from(name: Named<$type>) -> Self {
                name.0
            }
        }
    )+};
}

named_elsewhere!(LogLevel, TriggerKind);

/// Parses the bytes of an object name.
pub(crate) fn oid(bytes: &[u8]) -> Result<Oid, BoxDynError> {
    let named = bytes.try_into().map(Oid::new);
    named.map_err(|_| format!("object name of {} bytes", bytes.len()).into())
}

/// Arrays of ids are bound in PostgreSQL.
impl PgHasArrayType for Id {
    fn array_type_info() -> PgTypeInfo {
        Uuid::array_type_info()
    }
}

impl From<Id> for Uuid {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl From<Maybe<Id>> for Option<Uuid> {
    fn from(id: Maybe<Id>) -> Self {
        id.0.map(|id| id.0)
    }
}

impl From<HexOid> for Oid {
    fn from(oid: HexOid) -> Self {
        oid.0
    }
}

impl From<Maybe<Named<AppName>>> for Option<AppName> {
    fn from(name: Maybe<Named<AppName>>) -> Self {
        name.0.map(AppName::from)
    }
}

impl From<TokenHash> for [u8; 32] {
    fn from(hash: TokenHash) -> Self {
        hash.0
    }
}

impl From<Duration> for Microseconds {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
    }
}

impl From<Microseconds> for Duration {
    fn from(time: Microseconds) -> Self {
        Self::from_micros(u64::try_from(time.0).unwrap_or_default())
    }
}

/// Implements conversion of unsigned numbers.
macro_rules! unsigned {
    ($($type:ty),+) => {$(
        impl From<Unsigned<$type>> for $type {
            fn from(number: Unsigned<$type>) -> Self {
                number.0
            }
        }

        impl From<Maybe<Unsigned<$type>>> for Option<$type> {
            fn from(number: Maybe<Unsigned<$type>>) -> Self {
                number.0.map(|number| number.0)
            }
        }
    )+};
}

unsigned!(u16, u32, u64);

/// Converts to the signed type of both databases.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Converts to the signed type of both databases.
pub(crate) fn signed_small(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
