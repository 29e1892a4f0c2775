-- Git objects are kept as they were received, deltas among them, and nothing is kept twice that can be read from them.

-- What is there is written anew, however long that takes.
SET LOCAL statement_timeout = 0;

ALTER TABLE apps ADD COLUMN repository integer GENERATED ALWAYS AS IDENTITY UNIQUE;
COMMENT ON COLUMN apps.repository IS 'Stands for the app where a row has to be small.';

ALTER TABLE objects RENAME TO whole_objects;
ALTER INDEX objects_pkey RENAME TO whole_objects_pkey;

-- The order of the columns leaves no gaps: what has a fixed length comes first, the longest before the others.
CREATE TABLE objects (
    size       bigint  NOT NULL CHECK (size >= 0),
    repository integer NOT NULL REFERENCES apps (repository) ON DELETE CASCADE,
    depth      integer NOT NULL CHECK (depth >= 0),
    oid        bytea   NOT NULL,
    base       bytea,
    kind       text    NOT NULL CHECK (kind IN ('commit', 'tree', 'blob', 'tag')),
    zlib       bytea   NOT NULL,
    PRIMARY KEY (repository, oid),
    CHECK ((base IS NULL) = (depth = 0))
);
-- Compressed already: PostgreSQL would try in vain.
ALTER TABLE objects ALTER COLUMN zlib SET STORAGE EXTERNAL;
COMMENT ON TABLE objects IS 'Git objects, each as the zlib stream of the pack that brought it.';
COMMENT ON COLUMN objects.repository IS 'The app, as apps.repository has it.';
COMMENT ON COLUMN objects.oid IS 'The 20 bytes of the SHA-1 name.';
COMMENT ON COLUMN objects.kind IS 'The kind of the object, of a delta too.';
COMMENT ON COLUMN objects.base IS 'The object that the stream is a delta on; NULL: the stream is the whole content.';
COMMENT ON COLUMN objects.depth IS 'How many deltas lie under it: 0 for a whole one, 1 for a delta on a whole one.';
COMMENT ON COLUMN objects.size IS 'Bytes of what the stream inflates to: of the content, or of the delta.';

INSERT INTO objects (repository, oid, kind, depth, size, zlib)
SELECT apps.repository, whole.oid, whole.kind, 0, whole.size, whole.zlib
FROM whole_objects AS whole JOIN apps ON apps.id = whole.app;
DROP TABLE whole_objects;
CREATE INDEX commits ON objects (repository, oid) WHERE kind = 'commit';

-- Manifests and scripts are read from the git objects.
DROP TABLE scripts;

-- There is a row in each of these for every push: they were as large as its objects.
ALTER TABLE revisions RENAME TO wide_revisions;
ALTER INDEX revisions_pkey RENAME TO wide_revisions_pkey;
ALTER TABLE deploys RENAME TO wide_deploys;
ALTER INDEX deploys_pkey RENAME TO wide_deploys_pkey;

CREATE TABLE revisions (
    validated_at timestamptz NOT NULL,
    repository   integer     NOT NULL REFERENCES apps (repository) ON DELETE CASCADE,
    commit_id    bytea       NOT NULL,
    sdk          text        NOT NULL,
    subject      text        NOT NULL,
    author       text        NOT NULL,
    PRIMARY KEY (repository, commit_id)
);
COMMENT ON TABLE revisions IS 'Validated commits. Never changed.';
COMMENT ON COLUMN revisions.repository IS 'The app, as apps.repository has it.';
COMMENT ON COLUMN revisions.commit_id IS 'The 20 bytes of the SHA-1 name.';
INSERT INTO revisions (repository, commit_id, sdk, subject, author, validated_at)
SELECT apps.repository, decode(wide.commit_id, 'hex'), wide.sdk, wide.subject, wide.author, wide.validated_at
FROM wide_revisions AS wide JOIN apps ON apps.id = wide.app
ORDER BY 1, 2;

CREATE TABLE deploys (
    number      bigint      NOT NULL,
    deployed_at timestamptz NOT NULL,
    repository  integer     NOT NULL REFERENCES apps (repository) ON DELETE CASCADE,
    commit_id   bytea       NOT NULL,
    branch      text        NOT NULL,
    deployed_by text        NOT NULL,
    PRIMARY KEY (repository, number),
    FOREIGN KEY (repository, commit_id) REFERENCES revisions
);
COMMENT ON TABLE deploys IS 'What was made live, when and by whom. Never changed.';
COMMENT ON COLUMN deploys.repository IS 'The app, as apps.repository has it.';
COMMENT ON COLUMN deploys.commit_id IS 'The 20 bytes of the SHA-1 name.';
INSERT INTO deploys (repository, number, branch, commit_id, deployed_at, deployed_by)
SELECT apps.repository, wide.number, wide.branch, decode(wide.commit_id, 'hex'), wide.deployed_at, wide.deployed_by
FROM wide_deploys AS wide JOIN apps ON apps.id = wide.app
ORDER BY 1, 2;

DROP TABLE wide_deploys;
DROP TABLE wide_revisions;
CREATE INDEX deploys_of_a_branch ON deploys (repository, branch, number DESC);
