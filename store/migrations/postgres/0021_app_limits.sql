-- What an app is granted of its own. NULL: what the operator grants every app.

ALTER TABLE apps ADD COLUMN limit_memory_share bigint CHECK (limit_memory_share >= 0);
ALTER TABLE apps ADD COLUMN limit_disk bigint CHECK (limit_disk >= 0);
ALTER TABLE apps ADD COLUMN limit_previews bigint CHECK (limit_previews >= 0);
ALTER TABLE apps ADD COLUMN limit_schedule_runs bigint CHECK (limit_schedule_runs >= 0);
ALTER TABLE apps ADD COLUMN limit_timeout_ms bigint CHECK (limit_timeout_ms >= 0);
ALTER TABLE apps ADD COLUMN limit_operations bigint CHECK (limit_operations >= 0);
ALTER TABLE apps ADD COLUMN limit_script_memory bigint CHECK (limit_script_memory >= 0);
ALTER TABLE apps ADD COLUMN limit_body bigint CHECK (limit_body >= 0);
ALTER TABLE apps ADD COLUMN limit_concurrency bigint CHECK (limit_concurrency >= 0);
ALTER TABLE apps ADD COLUMN limit_schedules bigint CHECK (limit_schedules >= 0);
