-- Objects that nothing reaches any more are deleted.

ALTER TABLE apps ADD COLUMN collection_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
COMMENT ON COLUMN apps.collection_id IS 'Another one whenever objects were deleted, so that a push notices whether what it builds on can be gone.';

ALTER TABLE nodes ADD COLUMN notices_deletions boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN nodes.notices_deletions IS 'Whether its pushes compare collection_id. Nothing is deleted while there is a node whose pushes do not.';

CREATE TABLE condemned (
    repository integer NOT NULL REFERENCES apps (repository) ON DELETE CASCADE,
    oid        bytea   NOT NULL,
    PRIMARY KEY (repository, oid)
);
COMMENT ON TABLE condemned IS 'Objects that nothing reaches, on their way to be deleted: no push builds on them any more.';

CREATE TABLE released (
    repository integer     NOT NULL REFERENCES apps (repository) ON DELETE CASCADE,
    at         timestamptz NOT NULL,
    oid        bytea       NOT NULL,
    PRIMARY KEY (repository, oid)
);
COMMENT ON TABLE released IS 'Objects that a ref or a deploy held until then: what only they reach is deleted a while later, and so are these rows.';

-- Earlier versions kept everything. No object has this name; that there is a row has all of the app looked at.
INSERT INTO released (repository, oid, at) SELECT repository, decode(repeat('00', 20), 'hex'), now() FROM apps;
