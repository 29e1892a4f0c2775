-- Apps that are stopped, and those that are deleted and can still be brought back.

ALTER TABLE apps ADD COLUMN stopped_at TEXT;  -- NULL: it answers
ALTER TABLE apps ADD COLUMN stopped_by TEXT;

-- A deleted app has `~` and its id for a name, which no other one can have, and which nobody can ask for.
ALTER TABLE apps ADD COLUMN deleted_at   TEXT;  -- NULL: it is not
ALTER TABLE apps ADD COLUMN deleted_by   TEXT;
ALTER TABLE apps ADD COLUMN deleted_name TEXT;  -- what it was called
ALTER TABLE apps ADD COLUMN purging      INTEGER NOT NULL DEFAULT 0;  -- some of it is gone: it cannot be brought back
