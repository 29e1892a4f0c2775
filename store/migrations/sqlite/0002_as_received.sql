-- Git objects are kept as they were received, deltas among them, and nothing is kept twice that can be read from them.

-- Stands for the app where a row has to be small. The push that creates an app gives it the next number.
ALTER TABLE apps ADD COLUMN repository INTEGER;
UPDATE apps SET repository = (SELECT count(*) FROM apps AS upto WHERE upto.rowid <= apps.rowid);
CREATE UNIQUE INDEX apps_by_repository ON apps (repository);

ALTER TABLE objects RENAME TO whole_objects;

-- Git objects, each as the zlib stream of the pack that brought it.
CREATE TABLE objects (
    repository INTEGER NOT NULL REFERENCES apps (repository) ON DELETE CASCADE,
    oid        BLOB    NOT NULL,  -- the 20 bytes of the SHA-1 name
    kind       TEXT    NOT NULL CHECK (kind IN ('commit', 'tree', 'blob', 'tag')),  -- of a delta too
    base       BLOB,              -- the object that the stream is a delta on; NULL: it is the whole content
    depth      INTEGER NOT NULL CHECK (depth >= 0),  -- how many deltas lie under it: 0 for a whole one
    size       INTEGER NOT NULL CHECK (size >= 0),   -- bytes of what the stream inflates to: content or delta
    zlib       BLOB    NOT NULL,
    PRIMARY KEY (repository, oid),
    CHECK ((base IS NULL) = (depth = 0))
);
INSERT INTO objects (repository, oid, kind, depth, size, zlib)
SELECT apps.repository, whole.oid, whole.kind, 0, whole.size, whole.zlib
FROM whole_objects AS whole JOIN apps ON apps.id = whole.app;
DROP TABLE whole_objects;
CREATE INDEX commits ON objects (repository, oid) WHERE kind = 'commit';

-- Manifests and scripts are read from the git objects.
DROP TABLE scripts;
ALTER TABLE revisions DROP COLUMN manifest;
