-- Objects that nothing reaches any more are deleted.

-- Another one whenever objects were deleted, so that a push notices whether what it builds on can be gone.
ALTER TABLE apps ADD COLUMN collection_id TEXT NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';

-- Objects that nothing reaches, on their way to be deleted: no push builds on them any more.
CREATE TABLE condemned (
    repository INTEGER NOT NULL REFERENCES apps (repository) ON DELETE CASCADE,
    oid        BLOB    NOT NULL,  -- 20 bytes
    PRIMARY KEY (repository, oid)
) WITHOUT ROWID;

-- Objects that a ref or a deploy held until then: what only they reach is deleted a while later, and so are these rows.
CREATE TABLE released (
    repository INTEGER NOT NULL REFERENCES apps (repository) ON DELETE CASCADE,
    oid        BLOB    NOT NULL,  -- 20 bytes
    at         TEXT    NOT NULL,
    PRIMARY KEY (repository, oid)
) WITHOUT ROWID;

-- Earlier versions kept everything. No object has this name; that there is a row has all of the app looked at.
INSERT INTO released (repository, oid, at) SELECT repository, zeroblob(20), '2020-01-01T00:00:00+00:00' FROM apps;
