-- Previews may have schedules that run, beside those of production: a schedule is one of a branch.

-- Since when the schedules of a preview run by the clock. Those of production always do.
ALTER TABLE refs ADD COLUMN scheduled_since TEXT;

ALTER TABLE schedules RENAME TO earlier_schedules;

-- How far each schedule has come.
CREATE TABLE schedules (
    app            TEXT    NOT NULL REFERENCES apps ON DELETE CASCADE,
    branch         TEXT    NOT NULL DEFAULT 'main',
    name           TEXT    NOT NULL,
    cron           TEXT    NOT NULL,
    timezone       TEXT    NOT NULL,
    deploy         INTEGER NOT NULL,  -- the latest deploy that declares it, as far as a node has seen it
    reckoned_until TEXT    NOT NULL,  -- every due time up to this one has been run or has its row in schedule_runs
    paused_at      TEXT,
    paused_by      TEXT,
    PRIMARY KEY (app, branch, name)
) WITHOUT ROWID;
-- Until now all were those of production.
INSERT INTO schedules (app, branch, name, cron, timezone, deploy, reckoned_until, paused_at, paused_by)
SELECT app, production_branch, earlier_schedules.name, cron, timezone, deploy, reckoned_until, paused_at, paused_by
FROM earlier_schedules JOIN apps ON apps.id = app ORDER BY 1, 2, 3;
DROP TABLE earlier_schedules;

ALTER TABLE schedule_runs RENAME TO earlier_runs;

-- Runs of schedules, and why others were not run. The key decides who runs a due time.
CREATE TABLE schedule_runs (
    app         TEXT    NOT NULL REFERENCES apps ON DELETE CASCADE,
    branch      TEXT    NOT NULL DEFAULT 'main',
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
    PRIMARY KEY (app, branch, schedule, due, manual)
) WITHOUT ROWID;
INSERT INTO schedule_runs (app, branch, schedule, due, manual, first_due, due_times, deploy, execution, node, node_name,
    claimed_at, lease_until, finished_at, outcome, detail)
SELECT app, production_branch, schedule, due, manual, first_due, due_times, deploy, execution, node, node_name,
    claimed_at, lease_until, finished_at, outcome, detail
FROM earlier_runs JOIN apps ON apps.id = app ORDER BY 1, 2, 3, 4, 5;
DROP TABLE earlier_runs;
CREATE INDEX schedule_runs_in_progress ON schedule_runs (app, branch, schedule) WHERE finished_at IS NULL;
