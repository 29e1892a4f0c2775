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
ALTER TABLE revisions DROP COLUMN manifest;
-- A dropped column keeps its room until the rows are written anew, which this does.
CLUSTER revisions USING revisions_pkey;
ALTER TABLE revisions SET WITHOUT CLUSTER;
