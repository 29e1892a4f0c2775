//! What a backup holds: one list for both databases, which a test compares with the tables that they really have.

/// A table, and which of its columns are copied.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns and what is in them.
    pub columns: &'static [(&'static str, Kind)],
}

/// What a column holds, whatever type each database has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A UUID: `uuid` in PostgreSQL, text in SQLite.
    Id,
    /// A moment: `timestamptz` in PostgreSQL, RFC 3339 in SQLite.
    Time,
    /// `text` in both.
    Text,
    /// A whole number: `integer` or `bigint` in PostgreSQL, `INTEGER` in SQLite.
    Number,
    /// `bytea` in PostgreSQL, `BLOB` in SQLite.
    Bytes,
    /// Whether something is so: `boolean` in PostgreSQL, 0 or 1 in SQLite.
    Truth,
}

use Kind::{Bytes, Id, Number, Text, Time, Truth};

/// What is kept of a secret.
const SECRET: &[(&str, Kind)] =
    &[("app", Id), ("name", Text), ("key", Text), ("sealed", Bytes), ("set_at", Time), ("set_by", Text)];

/// What is copied. A table comes behind those that it refers to.
pub const TABLES: &[Table] = &[
    Table {
        name: "apps",
        columns: &[
            ("id", Id),
            ("name", Text),
            ("production_branch", Text),
            ("last_deploy", Number),
            ("created_at", Time),
            ("repository", Number),
            ("protected", Truth),
            ("limit_memory_share", Number),
            ("limit_disk", Number),
            ("limit_previews", Number),
            ("limit_schedule_runs", Number),
            ("limit_timeout_ms", Number),
            ("limit_operations", Number),
            ("limit_script_memory", Number),
            ("limit_body", Number),
            ("limit_concurrency", Number),
            ("limit_schedules", Number),
            ("disk_bytes", Number),
            ("stopped_at", Time),
            ("stopped_by", Text),
            ("deleted_at", Time),
            ("deleted_by", Text),
            ("deleted_name", Text),
            ("purging", Truth),
        ],
    },
    Table {
        name: "refs",
        columns: &[
            ("app", Id),
            ("name", Text),
            ("target", Text),
            ("scheduled_since", Time),
            ("production_secrets", Truth),
        ],
    },
    Table { name: "condemned", columns: &[("repository", Number), ("oid", Bytes)] },
    Table { name: "released", columns: &[("repository", Number), ("oid", Bytes), ("at", Time)] },
    Table {
        name: "domains",
        columns: &[("name", Text), ("app", Id), ("proof", Text), ("proven_at", Time), ("proven_by", Text)],
    },
    Table { name: "domain_claims", columns: &[("app", Id), ("name", Text), ("claimed_at", Time)] },
    Table { name: "preview_certificates", columns: &[("name", Text), ("app", Id), ("granted_at", Time)] },
    Table { name: "shallow", columns: &[("app", Id), ("oid", Text)] },
    Table {
        name: "objects",
        columns: &[
            ("repository", Number),
            ("oid", Bytes),
            ("kind", Text),
            ("base", Bytes),
            ("depth", Number),
            ("size", Number),
            ("zlib", Bytes),
        ],
    },
    Table {
        name: "revisions",
        columns: &[
            ("repository", Number),
            ("commit_id", Bytes),
            ("sdk", Text),
            ("subject", Text),
            ("author", Text),
            ("validated_at", Time),
        ],
    },
    Table {
        name: "deploys",
        columns: &[
            ("repository", Number),
            ("number", Number),
            ("branch", Text),
            ("commit_id", Bytes),
            ("deployed_at", Time),
            ("deployed_by", Text),
            ("because", Text),
            ("message", Text),
        ],
    },
    Table {
        name: "schedules",
        columns: &[
            ("app", Id),
            ("branch", Text),
            ("name", Text),
            ("cron", Text),
            ("timezone", Text),
            ("deploy", Number),
            ("reckoned_until", Time),
            ("paused_at", Time),
            ("paused_by", Text),
        ],
    },
    Table {
        name: "schedule_runs",
        columns: &[
            ("app", Id),
            ("branch", Text),
            ("schedule", Text),
            ("due", Time),
            ("manual", Truth),
            ("first_due", Time),
            ("due_times", Number),
            ("deploy", Number),
            ("execution", Id),
            ("node", Id),
            ("node_name", Text),
            ("claimed_at", Time),
            ("lease_until", Time),
            ("finished_at", Time),
            ("outcome", Text),
            ("detail", Text),
        ],
    },
    Table {
        name: "executions",
        columns: &[
            ("number", Number),
            ("id", Id),
            ("request", Id),
            ("app", Id),
            ("deploy", Number),
            ("commit_id", Bytes),
            ("script", Text),
            ("trigger", Text),
            ("target", Text),
            ("node", Text),
            ("started_at", Time),
            ("duration_us", Number),
            ("operations", Number),
            ("memory", Number),
            ("status", Number),
            ("failure", Text),
            ("failure_message", Text),
            ("failure_script", Text),
            ("failure_line", Number),
            ("failure_column", Number),
            ("lines", Number),
            ("lines_dropped", Number),
        ],
    },
    Table {
        name: "logs",
        columns: &[
            ("number", Number),
            ("execution", Id),
            ("app", Id),
            ("script", Text),
            ("at", Time),
            ("level", Text),
            ("message", Text),
            ("data", Text),
            ("line", Number),
            ("failure", Truth),
        ],
    },
    Table {
        name: "losses",
        columns: &[
            ("number", Number),
            ("node", Text),
            ("since", Time),
            ("until", Time),
            ("executions", Number),
            ("lines", Number),
            ("app", Id),
        ],
    },
    Table { name: "last_backup", columns: &[("one", Truth), ("made_at", Time)] },
    Table { name: "record_count", columns: &[("one", Truth), ("last", Number)] },
    Table {
        name: "record_portions",
        columns: &[("kind", Text), ("since", Time), ("last", Number), ("bytes", Number)],
    },
    Table { name: "record_bytes", columns: &[("app", Id), ("kind", Text), ("bytes", Number)] },
    Table { name: "secrets", columns: SECRET },
    Table { name: "preview_secrets", columns: SECRET },
    Table {
        name: "tokens",
        columns: &[
            ("id", Id),
            ("name", Text),
            ("hash", Bytes),
            ("scopes", Text),
            ("created_at", Time),
            ("created_by", Text),
            ("expires_at", Time),
            ("last_used_at", Time),
        ],
    },
    Table {
        name: "audit",
        columns: &[
            ("id", Id),
            ("at", Time),
            ("who", Text),
            ("token", Id),
            ("address", Text),
            ("request_id", Id),
            ("action", Text),
            ("app", Text),
            ("subject", Text),
            ("old_value", Text),
            ("new_value", Text),
            ("deploy", Number),
        ],
    },
];

/// The tables that are not copied. A database keeps its own rows of them, apart from those that refer to an app.
pub const TABLES_LEFT_OUT: &[&str] = &[
    // Which migrations were made: a backup has those of SQLite.
    "_sqlx_migrations",
    // Who is there now. In PostgreSQL alone.
    "nodes",
    "served",
    // What became of transactions, for as long as somebody may ask.
    "outcomes",
    // What began within the last minute.
    "schedule_usage",
    // A restore sets or clears it, whatever held when the backup was made.
    "schedule_hold",
];

/// The columns that are not copied, each behind its table. A restored row has the column's default there.
pub const COLUMNS_LEFT_OUT: &[(&str, &str)] = &[
    // What nodes compare with what they serve. A restore gives another one.
    ("apps", "generation"),
    ("apps", "generation_id"),
    ("apps", "secrets_generation"),
    // What pushes compare that go on while objects are deleted. After a restore none does.
    ("apps", "collection_id"),
];

impl Table {
    /// Its columns, as a statement names them.
    pub(crate) fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// All that is copied, as a statement names them.
pub(crate) fn names() -> String {
    TABLES.iter().map(|table| table.name).collect::<Vec<_>>().join(", ")
}
