-- Previews may have schedules that run, beside those of production: a schedule is one of a branch.

ALTER TABLE refs ADD COLUMN scheduled_since timestamptz;
COMMENT ON COLUMN refs.scheduled_since IS 'Since when the schedules of a preview run by the clock. Those of production always do.';

-- Until now all were those of production.
ALTER TABLE schedules ADD COLUMN branch text NOT NULL DEFAULT 'main';
UPDATE schedules SET branch = production_branch FROM apps WHERE apps.id = schedules.app AND production_branch <> 'main';
ALTER TABLE schedules DROP CONSTRAINT schedules_pkey, ADD PRIMARY KEY (app, branch, name);

ALTER TABLE schedule_runs ADD COLUMN branch text NOT NULL DEFAULT 'main';
UPDATE schedule_runs SET branch = production_branch FROM apps WHERE apps.id = schedule_runs.app AND production_branch <> 'main';
ALTER TABLE schedule_runs DROP CONSTRAINT schedule_runs_pkey, ADD PRIMARY KEY (app, branch, schedule, due, manual);
DROP INDEX schedule_runs_in_progress;
CREATE INDEX schedule_runs_in_progress ON schedule_runs (app, branch, schedule) WHERE finished_at IS NULL;
