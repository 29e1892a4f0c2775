-- The state of apps, and the limit of its size.

ALTER TABLE apps ADD COLUMN limit_state INTEGER CHECK (limit_state >= 0);

-- The tables of state.db, where the state is (migrations/state). Here they have rows in backups, and after a restore until
-- the database is opened.

-- The state of production of an app, or of one of its previews.
CREATE TABLE kv_namespaces (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused
    app        TEXT    NOT NULL,
    name       TEXT    NOT NULL,  -- production, or preview/ and the branch
    version    INTEGER NOT NULL,  -- incremented by every commit
    bytes      INTEGER NOT NULL,  -- size of the entries, as the quota counts it
    entries    INTEGER NOT NULL,
    deleted_at TEXT               -- its entries are being deleted
);
CREATE UNIQUE INDEX kv_namespaces_name_idx ON kv_namespaces (app, name) WHERE deleted_at IS NULL;

-- The entries of a namespace. The value is last, so that other columns are read without the pages of a large one. It has
-- row ids: without them SQLite reads whole rows to compare keys, so that large values of one app slow down all others.
CREATE TABLE kv_entries (
    namespace     INTEGER NOT NULL,
    key           TEXT    NOT NULL,
    version       INTEGER NOT NULL,  -- of the commit that wrote it
    expires_at_ms INTEGER,           -- since 1970; NULL: it does not expire
    is_blob       INTEGER NOT NULL,  -- whether the value is a blob; otherwise it is JSON
    value         BLOB    NOT NULL,
    PRIMARY KEY (namespace, key)
);
CREATE INDEX kv_entries_expires_at_idx ON kv_entries (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

-- Scheduled runs that committed changes of the state, so that the run is known to have succeeded if the node is killed before
-- the outcome is in schedule_runs; and runs that were recorded as lost, which cannot commit any more.
CREATE TABLE schedule_results (
    execution TEXT    PRIMARY KEY,
    is_lost   INTEGER NOT NULL,
    at_ms     INTEGER NOT NULL  -- since 1970; the row is kept for an hour
) WITHOUT ROWID;

-- At most one row: the rows of these tables in this file replace those of state.db when it is opened.
CREATE TABLE kv_restore (
    singleton INTEGER PRIMARY KEY CHECK (singleton)
);
