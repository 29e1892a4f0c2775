-- What an app is granted of its own. NULL: what the operator grants every app.

ALTER TABLE apps ADD COLUMN limit_memory_share INTEGER CHECK (limit_memory_share >= 0);
ALTER TABLE apps ADD COLUMN limit_disk INTEGER CHECK (limit_disk >= 0);
ALTER TABLE apps ADD COLUMN limit_previews INTEGER CHECK (limit_previews >= 0);
ALTER TABLE apps ADD COLUMN limit_schedule_runs INTEGER CHECK (limit_schedule_runs >= 0);
ALTER TABLE apps ADD COLUMN limit_timeout_ms INTEGER CHECK (limit_timeout_ms >= 0);
ALTER TABLE apps ADD COLUMN limit_operations INTEGER CHECK (limit_operations >= 0);
ALTER TABLE apps ADD COLUMN limit_script_memory INTEGER CHECK (limit_script_memory >= 0);
ALTER TABLE apps ADD COLUMN limit_body INTEGER CHECK (limit_body >= 0);
ALTER TABLE apps ADD COLUMN limit_concurrency INTEGER CHECK (limit_concurrency >= 0);
ALTER TABLE apps ADD COLUMN limit_schedules INTEGER CHECK (limit_schedules >= 0);
