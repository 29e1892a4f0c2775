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

-- There is a row in each of these for every push: they were as large as its objects.
ALTER TABLE revisions RENAME TO wide_revisions;
ALTER TABLE deploys RENAME TO wide_deploys;

-- Validated commits. Never changed.
CREATE TABLE revisions (
    repository   INTEGER NOT NULL REFERENCES apps (repository) ON DELETE CASCADE,
    commit_id    BLOB    NOT NULL,  -- 20 bytes
    sdk          TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    author       TEXT    NOT NULL,
    validated_at TEXT    NOT NULL,
    PRIMARY KEY (repository, commit_id)
) WITHOUT ROWID;
-- In the order of the key, so that no page is split.
INSERT INTO revisions (repository, commit_id, sdk, subject, author, validated_at)
SELECT apps.repository, unhex(wide.commit_id), wide.sdk, wide.subject, wide.author, wide.validated_at
FROM wide_revisions AS wide JOIN apps ON apps.id = wide.app
ORDER BY 1, 2;

-- What was made live, when and by whom. Never changed.
CREATE TABLE deploys (
    repository  INTEGER NOT NULL REFERENCES apps (repository) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    branch      TEXT    NOT NULL,
    commit_id   BLOB    NOT NULL,  -- 20 bytes
    deployed_at TEXT    NOT NULL,
    deployed_by TEXT    NOT NULL,
    PRIMARY KEY (repository, number),
    FOREIGN KEY (repository, commit_id) REFERENCES revisions
) WITHOUT ROWID;
INSERT INTO deploys (repository, number, branch, commit_id, deployed_at, deployed_by)
SELECT apps.repository, wide.number, wide.branch, unhex(wide.commit_id), wide.deployed_at, wide.deployed_by
FROM wide_deploys AS wide JOIN apps ON apps.id = wide.app
ORDER BY 1, 2;

DROP TABLE wide_deploys;
DROP TABLE wide_revisions;
CREATE INDEX deploys_of_a_branch ON deploys (repository, branch, number DESC);
