-- Times are RFC 3339 in UTC, ids of apps and executions are UUIDs as text.

-- A named repository and what it serves.
CREATE TABLE apps (
    id                TEXT    PRIMARY KEY NOT NULL,
    name              TEXT    NOT NULL UNIQUE,
    production_branch TEXT    NOT NULL,
    last_deploy       INTEGER NOT NULL DEFAULT 0,  -- the number of the latest deploy
    created_at        TEXT    NOT NULL
);

-- Branches and tags. Deploys are refs too, but those are read off the table of deploys.
CREATE TABLE refs (
    app    TEXT NOT NULL REFERENCES apps ON DELETE CASCADE,
    name   TEXT NOT NULL,  -- refs/heads/main
    target TEXT NOT NULL,  -- 40 hexadecimal digits
    PRIMARY KEY (app, name)
);

-- Git objects, each as the zlib stream that a pack carries.
CREATE TABLE objects (
    app  TEXT    NOT NULL REFERENCES apps ON DELETE CASCADE,
    oid  BLOB    NOT NULL,
    kind TEXT    NOT NULL CHECK (kind IN ('commit', 'tree', 'blob', 'tag')),
    size INTEGER NOT NULL,  -- bytes of the content, inflated
    zlib BLOB    NOT NULL,
    PRIMARY KEY (app, oid)
);

-- Commits whose parents were never sent (a push from a shallow clone).
CREATE TABLE shallow (
    app TEXT NOT NULL REFERENCES apps ON DELETE CASCADE,
    oid TEXT NOT NULL,
    PRIMARY KEY (app, oid)
);

-- Validated commits. Never changed.
CREATE TABLE revisions (
    app          TEXT NOT NULL REFERENCES apps ON DELETE CASCADE,
    commit_id    TEXT NOT NULL,
    sdk          TEXT NOT NULL,
    subject      TEXT NOT NULL,
    author       TEXT NOT NULL,
    manifest     TEXT NOT NULL,
    validated_at TEXT NOT NULL,
    PRIMARY KEY (app, commit_id)
);

-- The scripts that a revision's manifest names.
CREATE TABLE scripts (
    app       TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    path      TEXT NOT NULL,
    source    TEXT NOT NULL,
    PRIMARY KEY (app, commit_id, path),
    FOREIGN KEY (app, commit_id) REFERENCES revisions ON DELETE CASCADE
);

-- What was made live, when and by whom. Never changed.
CREATE TABLE deploys (
    app         TEXT    NOT NULL REFERENCES apps ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    branch      TEXT    NOT NULL,
    commit_id   TEXT    NOT NULL,
    deployed_at TEXT    NOT NULL,
    deployed_by TEXT    NOT NULL,
    PRIMARY KEY (app, number),
    FOREIGN KEY (app, commit_id) REFERENCES revisions
);
CREATE INDEX deploys_of_a_branch ON deploys (app, branch, number DESC);

-- Runs of schedules. The key decides who runs a due time.
CREATE TABLE schedule_runs (
    app         TEXT    NOT NULL REFERENCES apps ON DELETE CASCADE,
    schedule    TEXT    NOT NULL,
    due         TEXT    NOT NULL,
    deploy      INTEGER NOT NULL,
    execution   TEXT    NOT NULL,
    claimed_at  TEXT    NOT NULL,
    finished_at TEXT,
    outcome     TEXT    CHECK (outcome IN ('succeeded', 'failed', 'skipped')),
    detail      TEXT,
    PRIMARY KEY (app, schedule, due)
);
