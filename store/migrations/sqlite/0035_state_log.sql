-- The latest commit of a namespace. Two histories can reach the same version after a restore, but not the same commit.
-- Only PostgreSQL has a log of commits, because only there other nodes have caches.
ALTER TABLE kv_namespaces ADD COLUMN commit_id TEXT;
