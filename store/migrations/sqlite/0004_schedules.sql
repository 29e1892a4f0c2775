-- What is remembered of a schedule from one deploy to the next, and runs that are held by a node.

-- How far each schedule has come.
CREATE TABLE schedules (
    app            TEXT    NOT NULL REFERENCES apps ON DELETE CASCADE,
    name           TEXT    NOT NULL,
    cron           TEXT    NOT NULL,
    timezone       TEXT    NOT NULL,
    deploy         INTEGER NOT NULL,  -- the latest deploy that declares it, as far as a node has seen it
    reckoned_until TEXT    NOT NULL,  -- every due time up to this one has been run or has its row in schedule_runs
    paused_at      TEXT,
    paused_by      TEXT,
    PRIMARY KEY (app, name)
) WITHOUT ROWID;
INSERT INTO schedules (app, name, cron, timezone, deploy, reckoned_until)
SELECT app, schedule, '', '', max(deploy), max(due) FROM schedule_runs GROUP BY app, schedule;

ALTER TABLE schedule_runs RENAME TO earlier_runs;

-- Runs of schedules, and why others were not run. The key decides who runs a due time.
CREATE TABLE schedule_runs (
    app         TEXT    NOT NULL REFERENCES apps ON DELETE CASCADE,
    schedule    TEXT    NOT NULL,
    due         TEXT    NOT NULL,
    manual      INTEGER NOT NULL DEFAULT 0,  -- asked for by somebody at the time of due, and not by the clock
    first_due   TEXT,                        -- where the row stands for several due times: the first of them
    due_times   INTEGER NOT NULL DEFAULT 1,  -- how many those are, counted up to 1000; 1001 means more
    deploy      INTEGER NOT NULL,
    execution   TEXT,
    node        TEXT,
    node_name   TEXT,
    claimed_at  TEXT    NOT NULL,
    lease_until TEXT,                        -- until when the node holds the run; later, others record it as lost
    finished_at TEXT,
    outcome     TEXT    CHECK (outcome IN ('succeeded', 'failed', 'skipped', 'missed', 'lost')),
    detail      TEXT,
    PRIMARY KEY (app, schedule, due, manual)
) WITHOUT ROWID;
INSERT INTO schedule_runs (app, schedule, due, deploy, execution, claimed_at, finished_at, outcome, detail)
SELECT app, schedule, due, deploy, execution, claimed_at,
    coalesce(finished_at, claimed_at), coalesce(outcome, 'lost'),
    CASE WHEN finished_at IS NULL THEN 'its end was never recorded' ELSE detail END
FROM earlier_runs ORDER BY 1, 2, 3;
DROP TABLE earlier_runs;
CREATE INDEX schedule_runs_in_progress ON schedule_runs (app, schedule) WHERE finished_at IS NULL;
