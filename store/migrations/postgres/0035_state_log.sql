-- Commits of the state, for the caches of other nodes.

ALTER TABLE kv_namespaces ADD COLUMN commit_id uuid;
COMMENT ON COLUMN kv_namespaces.commit_id IS 'The latest commit. Two histories can reach the same version after a recovery to an earlier time, but not the same commit.';

CREATE TABLE kv_log (
    namespace    bigint      NOT NULL REFERENCES kv_namespaces ON DELETE CASCADE,
    version      bigint      NOT NULL,
    commit_id    uuid        NOT NULL,
    from_version bigint      NOT NULL,
    from_commit  uuid,
    keys         text[],
    size         bigint      NOT NULL,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (namespace, version)
);
CREATE INDEX kv_log_at_idx ON kv_log USING brin (at);
COMMENT ON TABLE kv_log IS 'Recent commits of the namespaces. Nodes read it to drop changed keys from their caches, and to find out whether a commit without a response was stored.';
COMMENT ON COLUMN kv_log.version IS 'Version of the namespace after the commit.';
COMMENT ON COLUMN kv_log.from_version IS 'Version before the commit.';
COMMENT ON COLUMN kv_log.from_commit IS 'The commit before.';
COMMENT ON COLUMN kv_log.keys IS 'Changed keys; NULL: too many.';
COMMENT ON COLUMN kv_log.size IS 'Size of the keys in bytes, with the row.';
