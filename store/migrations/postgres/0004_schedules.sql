-- What is remembered of a schedule from one deploy to the next, and runs that are held by a node.

CREATE TABLE schedules (
    app            uuid        NOT NULL REFERENCES apps ON DELETE CASCADE,
    name           text        NOT NULL,
    cron           text        NOT NULL,
    timezone       text        NOT NULL,
    deploy         bigint      NOT NULL,
    reckoned_until timestamptz NOT NULL,
    paused_at      timestamptz,
    paused_by      text,
    PRIMARY KEY (app, name)
);
COMMENT ON TABLE schedules IS 'How far each schedule has come. A claim of a due time holds the row.';
COMMENT ON COLUMN schedules.deploy IS 'The latest deploy that declares it, as far as a node has seen it.';
COMMENT ON COLUMN schedules.reckoned_until IS 'Every due time up to this one has been run or has its row in schedule_runs.';
INSERT INTO schedules (app, name, cron, timezone, deploy, reckoned_until)
SELECT app, schedule, '', '', max(deploy), max(due) FROM schedule_runs GROUP BY app, schedule;

ALTER TABLE schedule_runs
    ADD COLUMN manual      boolean NOT NULL DEFAULT false,
    ADD COLUMN first_due   timestamptz,
    ADD COLUMN due_times   integer NOT NULL DEFAULT 1,
    ADD COLUMN node        uuid,
    ADD COLUMN node_name   text,
    ADD COLUMN lease_until timestamptz,
    ALTER COLUMN execution DROP NOT NULL,
    DROP CONSTRAINT schedule_runs_outcome_check,
    ADD CONSTRAINT schedule_runs_outcome_check
        CHECK (outcome IN ('succeeded', 'failed', 'skipped', 'missed', 'lost')),
    DROP CONSTRAINT schedule_runs_pkey,
    ADD PRIMARY KEY (app, schedule, due, manual);
COMMENT ON TABLE schedule_runs IS 'Runs of schedules, and why others were not run. The key decides who runs a due time.';
COMMENT ON COLUMN schedule_runs.manual IS 'Asked for by somebody at the time of due, and not by the clock.';
COMMENT ON COLUMN schedule_runs.first_due IS 'Where the row stands for several due times: the first of them; due is the last.';
COMMENT ON COLUMN schedule_runs.due_times IS 'How many due times the row stands for. They are counted up to 1000; 1001 means more.';
COMMENT ON COLUMN schedule_runs.lease_until IS 'Until when the node holds the run. Later than that, others record it as lost.';
UPDATE schedule_runs SET finished_at = now(), outcome = 'lost', detail = 'its end was never recorded' WHERE finished_at IS NULL;
CREATE INDEX schedule_runs_in_progress ON schedule_runs (app, schedule) WHERE finished_at IS NULL;
