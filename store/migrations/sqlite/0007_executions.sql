-- What ran, and what it logged.

-- Runs of scripts. Kept by age and size.
CREATE TABLE executions (
    number          INTEGER PRIMARY KEY,  -- the order in which records came in, over executions, logs and losses
    id              TEXT    NOT NULL UNIQUE,
    request         TEXT    NOT NULL,
    app             TEXT    NOT NULL,
    deploy          INTEGER NOT NULL,
    commit_id       BLOB    NOT NULL,
    script          TEXT    NOT NULL,
    trigger         TEXT    NOT NULL CHECK (trigger IN ('http', 'function', 'scheduled')),
    target          TEXT    NOT NULL,  -- method and path, or the name of the function or the schedule
    node            TEXT    NOT NULL,
    started_at      TEXT    NOT NULL,
    duration_us     INTEGER NOT NULL,
    operations      INTEGER NOT NULL,
    memory          INTEGER NOT NULL,  -- the most bytes held at once
    status          INTEGER,              -- what HTTP was answered; NULL for what is not HTTP
    failure         TEXT,                 -- the kind of failure; NULL: it has an answer
    failure_message TEXT,
    failure_script  TEXT,
    failure_line    INTEGER,
    failure_column  INTEGER,
    lines           INTEGER NOT NULL,
    lines_dropped   INTEGER NOT NULL
);
CREATE INDEX executions_of_an_app ON executions (app, number);
CREATE INDEX executions_that_failed ON executions (app, number) WHERE failure IS NOT NULL;

-- What scripts logged. Kept by age and size.
CREATE TABLE logs (
    number    INTEGER PRIMARY KEY,
    execution TEXT    NOT NULL,
    app       TEXT    NOT NULL,
    script    TEXT    NOT NULL,
    at        TEXT    NOT NULL,
    level     TEXT    NOT NULL CHECK (level IN ('trace', 'info', 'warn', 'error')),
    message   TEXT    NOT NULL,
    data      TEXT,             -- JSON
    line      INTEGER,          -- of the script
    failure   INTEGER NOT NULL   -- the line is the failure of the run, and none of the script's own
);
CREATE INDEX logs_of_an_app ON logs (app, number);
CREATE INDEX logs_of_an_execution ON logs (execution, number);

-- How many records a node could not keep: there were too many at once, or the database was away for long.
CREATE TABLE losses (
    number     INTEGER PRIMARY KEY,
    node       TEXT    NOT NULL,
    since      TEXT    NOT NULL,
    until      TEXT    NOT NULL,
    executions INTEGER NOT NULL,
    lines      INTEGER NOT NULL
);

-- One row: the latest number of a record. Whoever writes records holds it, so that nobody sees a number before all lower ones.
CREATE TABLE record_count (
    one  INTEGER PRIMARY KEY CHECK (one),
    last INTEGER NOT NULL
);

-- How many bytes of records came in within ten seconds, and the latest number of them: by these, old ones are deleted.
CREATE TABLE record_portions (
    kind  TEXT    NOT NULL CHECK (kind IN ('executions', 'logs')),
    since TEXT    NOT NULL,
    last  INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (kind, since)
);
