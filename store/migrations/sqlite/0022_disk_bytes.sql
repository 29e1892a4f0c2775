-- How many bytes of the disk an app takes, by what pushes have left: its objects, revisions, deploys, refs and shallow commits. Each row counts
-- its streams and texts, and 200 bytes for everything else of it. Raised and lowered in the transaction of every change.
ALTER TABLE apps ADD COLUMN disk_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE apps SET disk_bytes =
    (SELECT coalesce(sum(length(zlib) + 200), 0) FROM objects WHERE objects.repository = apps.repository)
    + (SELECT coalesce(sum(octet_length(sdk) + octet_length(subject) + octet_length(author) + 200), 0)
       FROM revisions WHERE revisions.repository = apps.repository)
    + (SELECT coalesce(sum(octet_length(branch) + octet_length(deployed_by) + coalesce(octet_length(because), 0)
           + coalesce(octet_length(message), 0) + 200), 0)
       FROM deploys WHERE deploys.repository = apps.repository)
    + (SELECT coalesce(sum(octet_length(name) + 200), 0) FROM refs WHERE refs.app = apps.id)
    + (SELECT count(*) * 200 FROM shallow WHERE shallow.app = apps.id);
