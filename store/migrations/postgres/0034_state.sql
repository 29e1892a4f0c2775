-- The state of apps, and the limit of its size.

ALTER TABLE apps ADD COLUMN limit_state bigint CHECK (limit_state >= 0);

CREATE TABLE kv_namespaces (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app        uuid   NOT NULL,
    name       text   NOT NULL,
    version    bigint NOT NULL,
    bytes      bigint NOT NULL,
    entries    bigint NOT NULL,
    deleted_at timestamptz
);
CREATE UNIQUE INDEX kv_namespaces_name_idx ON kv_namespaces (app, name) WHERE deleted_at IS NULL;
COMMENT ON TABLE kv_namespaces IS 'State of scripts (kv): that of production of an app, or of one of its previews. Ids are never reused.';
COMMENT ON COLUMN kv_namespaces.app IS 'References apps.id. Without a foreign key, because SQLite has this table in a file of its own.';
COMMENT ON COLUMN kv_namespaces.name IS 'production, or preview/ and the branch.';
COMMENT ON COLUMN kv_namespaces.version IS 'Incremented by every commit.';
COMMENT ON COLUMN kv_namespaces.bytes IS 'Size of the entries, as the quota counts it.';
COMMENT ON COLUMN kv_namespaces.deleted_at IS 'Set while its entries are being deleted.';

CREATE TABLE kv_entries (
    namespace     bigint  NOT NULL,
    key           text    NOT NULL COLLATE "C",
    version       bigint  NOT NULL,
    expires_at_ms bigint,
    is_blob       boolean NOT NULL,
    value         bytea   NOT NULL,
    PRIMARY KEY (namespace, key)
);
CREATE INDEX kv_entries_expires_at_idx ON kv_entries (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
COMMENT ON TABLE kv_entries IS 'Entries of the namespaces.';
COMMENT ON COLUMN kv_entries.namespace IS 'References kv_namespaces.id.';
COMMENT ON COLUMN kv_entries.version IS 'The version of the namespace that wrote the entry.';
COMMENT ON COLUMN kv_entries.expires_at_ms IS 'When the entry expires, in milliseconds since 1970; NULL: never.';
COMMENT ON COLUMN kv_entries.is_blob IS 'Whether the value is a blob; otherwise it is JSON.';

CREATE TABLE schedule_results (
    execution uuid    PRIMARY KEY,
    is_lost   boolean NOT NULL,
    at_ms     bigint  NOT NULL
);
COMMENT ON TABLE schedule_results IS 'Scheduled runs that committed changes of the state, so that the run is known to have succeeded if the node is killed before the outcome is in schedule_runs; and runs that were recorded as lost, which cannot commit any more.';
COMMENT ON COLUMN schedule_results.at_ms IS 'In milliseconds since 1970. The row is kept for an hour.';
