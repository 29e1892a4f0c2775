-- How much of the disk each app takes.

-- Everything that is there is looked at, however long that takes.
SET LOCAL statement_timeout = 0;

ALTER TABLE apps ADD COLUMN disk_bytes bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN apps.disk_bytes IS 'Bytes of what pushes have left: objects, revisions, deploys, refs and shallow commits. Each row counts its streams and texts, and 200 bytes for everything else of it. Raised and lowered in the transaction of every change.';
UPDATE apps SET disk_bytes =
    (SELECT coalesce(sum(length(zlib) + 200), 0) FROM objects WHERE objects.repository = apps.repository)
    + (SELECT coalesce(sum(octet_length(sdk) + octet_length(subject) + octet_length(author) + 200), 0)
       FROM revisions WHERE revisions.repository = apps.repository)
    + (SELECT coalesce(sum(octet_length(branch) + octet_length(deployed_by) + coalesce(octet_length(because), 0)
           + coalesce(octet_length(message), 0) + 200), 0)
       FROM deploys WHERE deploys.repository = apps.repository)
    + (SELECT coalesce(sum(octet_length(name) + 200), 0) FROM refs WHERE refs.app = apps.id)
    + (SELECT count(*) * 200 FROM shallow WHERE shallow.app = apps.id);
