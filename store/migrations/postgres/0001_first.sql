CREATE TABLE apps (
    id                uuid        PRIMARY KEY,
    name              text        NOT NULL UNIQUE,
    production_branch text        NOT NULL,
    last_deploy       bigint      NOT NULL DEFAULT 0,  -- the number of the latest deploy
    created_at        timestamptz NOT NULL
);
COMMENT ON TABLE apps IS 'A named repository and what it serves.';

CREATE TABLE refs (
    app    uuid NOT NULL REFERENCES apps ON DELETE CASCADE,
    name   text NOT NULL,  -- refs/heads/main
    target text NOT NULL,  -- 40 hexadecimal digits
    PRIMARY KEY (app, name)
);
COMMENT ON TABLE refs IS 'Branches and tags. Deploys are refs too, but those are read off the table of deploys.';

CREATE TABLE objects (
    app  uuid   NOT NULL REFERENCES apps ON DELETE CASCADE,
    oid  bytea  NOT NULL,
    kind text   NOT NULL CHECK (kind IN ('commit', 'tree', 'blob', 'tag')),
    size bigint NOT NULL,  -- bytes of the content, inflated
    zlib bytea  NOT NULL,
    PRIMARY KEY (app, oid)
);
COMMENT ON TABLE objects IS 'Git objects, each as the zlib stream that a pack carries.';
-- Compressed already: PostgreSQL would try in vain.
ALTER TABLE objects ALTER COLUMN zlib SET STORAGE EXTERNAL;

CREATE TABLE shallow (
    app uuid NOT NULL REFERENCES apps ON DELETE CASCADE,
    oid text NOT NULL,
    PRIMARY KEY (app, oid)
);
COMMENT ON TABLE shallow IS 'Commits whose parents were never sent (a push from a shallow clone).';

CREATE TABLE revisions (
    app          uuid        NOT NULL REFERENCES apps ON DELETE CASCADE,
    commit_id    text        NOT NULL,
    sdk          text        NOT NULL,
    subject      text        NOT NULL,
    author       text        NOT NULL,
    manifest     text        NOT NULL,
    validated_at timestamptz NOT NULL,
    PRIMARY KEY (app, commit_id)
);
COMMENT ON TABLE revisions IS 'Validated commits. Never changed.';

CREATE TABLE scripts (
    app       uuid NOT NULL,
    commit_id text NOT NULL,
    path      text NOT NULL,
    source    text NOT NULL,
    PRIMARY KEY (app, commit_id, path),
    FOREIGN KEY (app, commit_id) REFERENCES revisions ON DELETE CASCADE
);
COMMENT ON TABLE scripts IS 'The scripts that a revision''s manifest names.';

CREATE TABLE deploys (
    app         uuid        NOT NULL REFERENCES apps ON DELETE CASCADE,
    number      bigint      NOT NULL,
    branch      text        NOT NULL,
    commit_id   text        NOT NULL,
    deployed_at timestamptz NOT NULL,
    deployed_by text        NOT NULL,
    PRIMARY KEY (app, number),
    FOREIGN KEY (app, commit_id) REFERENCES revisions
);
COMMENT ON TABLE deploys IS 'What was made live, when and by whom. Never changed.';
CREATE INDEX deploys_of_a_branch ON deploys (app, branch, number DESC);

CREATE TABLE schedule_runs (
    app         uuid        NOT NULL REFERENCES apps ON DELETE CASCADE,
    schedule    text        NOT NULL,
    due         timestamptz NOT NULL,
    deploy      bigint      NOT NULL,
    execution   uuid        NOT NULL,
    claimed_at  timestamptz NOT NULL,
    finished_at timestamptz,
    outcome     text        CHECK (outcome IN ('succeeded', 'failed', 'skipped')),
    detail      text,
    PRIMARY KEY (app, schedule, due)
);
COMMENT ON TABLE schedule_runs IS 'Runs of schedules. The key decides who runs a due time.';
