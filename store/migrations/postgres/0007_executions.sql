-- What ran, and what it logged.

CREATE TABLE executions (
    number          bigint      PRIMARY KEY,
    id              uuid        NOT NULL UNIQUE,
    request         uuid        NOT NULL,
    app             uuid        NOT NULL,
    deploy          bigint      NOT NULL,
    commit_id       bytea       NOT NULL,
    script          text        NOT NULL,
    trigger         text        NOT NULL CHECK (trigger IN ('http', 'function', 'scheduled')),
    target          text        NOT NULL,  -- method and path, or the name of the function or the schedule
    node            text        NOT NULL,
    started_at      timestamptz NOT NULL,
    duration_us     bigint      NOT NULL,
    operations      bigint      NOT NULL,
    memory          bigint      NOT NULL,  -- the most bytes held at once
    status          integer,               -- what HTTP was answered; NULL for what is not HTTP
    failure         text,
    failure_message text,
    failure_script  text,
    failure_line    integer,
    failure_column  integer,
    lines           integer     NOT NULL,
    lines_dropped   bigint      NOT NULL
);
CREATE INDEX executions_of_an_app ON executions (app, number);
CREATE INDEX executions_that_failed ON executions (app, number) WHERE failure IS NOT NULL;
COMMENT ON TABLE executions IS 'Runs of scripts. Kept by age and size.';
COMMENT ON COLUMN executions.number IS 'The order in which records came in, over executions, logs and losses.';
COMMENT ON COLUMN executions.failure IS 'The kind of failure; NULL: it has an answer.';

CREATE TABLE logs (
    number    bigint      PRIMARY KEY,
    execution uuid        NOT NULL,
    app       uuid        NOT NULL,
    script    text        NOT NULL,
    at        timestamptz NOT NULL,
    level     text        NOT NULL CHECK (level IN ('trace', 'info', 'warn', 'error')),
    message   text        NOT NULL,
    data      text,                  -- JSON
    line      integer,               -- of the script
    failure   boolean     NOT NULL   -- the line is the failure of the run, and none of the script's own
);
CREATE INDEX logs_of_an_app ON logs (app, number);
CREATE INDEX logs_of_an_execution ON logs (execution, number);
COMMENT ON TABLE logs IS 'What scripts logged. Kept by age and size.';

CREATE TABLE losses (
    number     bigint      PRIMARY KEY,
    node       text        NOT NULL,
    since      timestamptz NOT NULL,
    until      timestamptz NOT NULL,
    executions bigint      NOT NULL,
    lines      bigint      NOT NULL
);
COMMENT ON TABLE losses IS 'How many records a node could not keep: there were too many at once, or the database was away for long.';

CREATE TABLE record_count (
    one  boolean PRIMARY KEY CHECK (one),
    last bigint  NOT NULL
);
COMMENT ON TABLE record_count IS 'One row: the latest number of a record. Whoever writes records holds it, so that nobody sees a number before all lower ones.';

CREATE TABLE record_portions (
    kind  text        NOT NULL CHECK (kind IN ('executions', 'logs')),
    since timestamptz NOT NULL,
    last  bigint      NOT NULL,
    bytes bigint      NOT NULL,
    PRIMARY KEY (kind, since)
);
COMMENT ON TABLE record_portions IS 'How many bytes of records came in within ten seconds, and the latest number of them: by these, old ones are deleted.';
