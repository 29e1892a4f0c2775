-- Apps that are stopped, and those that are deleted and can still be brought back.

ALTER TABLE apps ADD COLUMN stopped_at timestamptz, ADD COLUMN stopped_by text;
COMMENT ON COLUMN apps.stopped_at IS 'Since when it does not answer; NULL: it does.';

ALTER TABLE apps ADD COLUMN deleted_at timestamptz, ADD COLUMN deleted_by text, ADD COLUMN deleted_name text,
    ADD COLUMN purging boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN apps.deleted_at IS 'Since when it is deleted; NULL: it is not.';
COMMENT ON COLUMN apps.deleted_name IS 'What it was called. A deleted app has ~ and its id for a name, which no other one can have, and which nobody can ask for.';
COMMENT ON COLUMN apps.purging IS 'Whether some of a deleted app is gone, so that it cannot be brought back.';
