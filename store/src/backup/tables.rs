//! The content of a backup: one list for both databases, which a test compares with the actual schemas.

/// A table with its copied columns.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns with their types.
    pub columns: &'static [(&'static str, ColumnType)],
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// UUID: `uuid` in PostgreSQL, text in SQLite.
    Id,
    /// Time: `timestamptz` in PostgreSQL, RFC 3339 in SQLite.
    Time,
    /// `text` in both.
    Text,
    /// Integer: `integer` or `bigint` in PostgreSQL, `INTEGER` in SQLite.
    Number,
    /// `bytea` in PostgreSQL, `BLOB` in SQLite.
    Bytes,
    /// `boolean` in PostgreSQL, 0 or 1 in SQLite.
    Bool,
}

use ColumnType::{Bool, Bytes, Id, Number, Text, Time};

/// The columns of secrets.
const SECRET: &[(&str, ColumnType)] = &[
    ("app", Id),
    ("name", Text),
    ("key_id", Text),
    ("ciphertext", Bytes),
    ("set_at", Time),
    ("set_by", Text),
];

const NAMESPACES: Table = Table {
    name: "kv_namespaces",
    columns: &[
        ("id", Number),
        ("app", Id),
        ("name", Text),
        ("version", Number),
        ("bytes", Number),
        ("entries", Number),
        ("deleted_at", Time),
    ],
};

const ENTRIES: Table = Table {
    name: "kv_entries",
    columns: &[
        ("namespace", Number),
        ("key", Text),
        ("version", Number),
        ("expires_at_ms", Number),
        ("is_blob", Bool),
        ("value", Bytes),
    ],
};

const SCHEDULE_RESULTS: Table =
    Table { name: "schedule_results", columns: &[("execution", Id), ("is_lost", Bool), ("at_ms", Number)] };

/// Those of [`TABLES`] that SQLite has in the file of the state.
pub(crate) const STATE_TABLES: [Table; 3] = [NAMESPACES, ENTRIES, SCHEDULE_RESULTS];

/// The copied tables. A table follows those that it refers to.
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
            ("protected", Bool),
            ("limit_memory_share", Number),
            ("limit_disk", Number),
            ("limit_previews", Number),
            ("limit_schedule_runs_per_minute", Number),
            ("limit_timeout_ms", Number),
            ("limit_operations", Number),
            ("limit_script_memory", Number),
            ("limit_body", Number),
            ("limit_concurrency", Number),
            ("limit_schedules", Number),
            ("limit_state", Number),
            ("disk_bytes", Number),
            ("stopped_at", Time),
            ("stopped_by", Text),
            ("deleted_at", Time),
            ("deleted_by", Text),
            ("deleted_name", Text),
            ("purging", Bool),
        ],
    },
    Table {
        name: "refs",
        columns: &[
            ("app", Id),
            ("name", Text),
            ("target", Text),
            ("scheduled_since", Time),
            ("production_secrets", Bool),
        ],
    },
    Table { name: "unreachable_objects", columns: &[("repository", Number), ("oid", Bytes)] },
    Table { name: "released_objects", columns: &[("repository", Number), ("oid", Bytes), ("at", Time)] },
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
            ("cause", Text),
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
            ("evaluated_until", Time),
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
            ("due_at", Time),
            ("manual", Bool),
            ("first_due_at", Time),
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
            ("sequence", Number),
            ("id", Id),
            ("request_id", Id),
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
            ("memory_peak_bytes", Number),
            ("status", Number),
            ("failure", Text),
            ("failure_message", Text),
            ("failure_script", Text),
            ("failure_line", Number),
            ("failure_column", Number),
            ("log_lines", Number),
            ("log_lines_dropped", Number),
        ],
    },
    Table {
        name: "logs",
        columns: &[
            ("sequence", Number),
            ("execution", Id),
            ("app", Id),
            ("script", Text),
            ("at", Time),
            ("level", Text),
            ("message", Text),
            ("data", Text),
            ("line", Number),
            ("failure", Bool),
        ],
    },
    Table {
        name: "dropped_records",
        columns: &[
            ("sequence", Number),
            ("node", Text),
            ("since", Time),
            ("until", Time),
            ("executions", Number),
            ("log_lines", Number),
            ("app", Id),
        ],
    },
    Table { name: "last_backup", columns: &[("singleton", Bool), ("made_at", Time)] },
    Table { name: "record_sequence", columns: &[("singleton", Bool), ("last_value", Number)] },
    Table {
        name: "retention_buckets",
        columns: &[("kind", Text), ("since", Time), ("last_sequence", Number), ("bytes", Number)],
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
    NAMESPACES,
    ENTRIES,
    SCHEDULE_RESULTS,
    Table {
        name: "audit_events",
        columns: &[
            ("id", Id),
            ("at", Time),
            ("actor", Text),
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

/// Tables that are not copied. A database keeps its rows, except for those that refer to an app.
pub const EXCLUDED_TABLES: &[&str] = &[
    // Applied migrations: those of a backup are of SQLite.
    "_sqlx_migrations",
    // Running nodes, in PostgreSQL only.
    "nodes",
    "node_generations",
    // Recent commits of the state, in PostgreSQL only.
    "kv_log",
    // Outcomes of transactions, which are only needed for a short time.
    "transaction_outcomes",
    // Rate limits of the current minute.
    "schedule_usage",
    // Set or cleared by a restore.
    "schedule_hold",
    // Set by a restore, in SQLite only.
    "kv_restore",
];

/// Columns that are not copied. They get their defaults in a restore.
pub const EXCLUDED_COLUMNS: &[(&str, &str)] = &[
    // Compared by nodes. A restore sets new values.
    ("apps", "generation"),
    ("apps", "generation_id"),
    ("apps", "secrets_generation"),
    // Compared by pushes in progress, of which there are none after a restore.
    ("apps", "gc_id"),
    // Compared by nodes, with the version. A restore sets a new version.
    ("kv_namespaces", "commit_id"),
];

impl Table {
    /// The columns as a list in SQL.
    pub(crate) fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// The tables as a list in SQL.
pub(crate) fn names() -> String {
    TABLES.iter().map(|table| table.name).collect::<Vec<_>>().join(", ")
}
