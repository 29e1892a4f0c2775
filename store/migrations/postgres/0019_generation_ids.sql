-- A database can be set back, by a standby that is promoted or from a backup: then generations are given a second time.

ALTER TABLE apps ADD COLUMN generation_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
COMMENT ON COLUMN apps.generation_id IS 'Random, another one for each generation: tells two of the same number apart.';

ALTER TABLE served ADD COLUMN generation_id uuid, ADD COLUMN sequence bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN served.generation_id IS 'The id of the generation; NULL: an older PiCloud says so, which knows none.';
COMMENT ON COLUMN served.sequence IS 'Counts what the node says: what arrives late replaces nothing newer.';
