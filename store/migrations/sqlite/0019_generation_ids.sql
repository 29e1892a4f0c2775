-- A database can be set back, by a standby that is promoted or from a backup: then generations are given a second time.

-- Random, another one for each generation: tells two of the same number apart.
ALTER TABLE apps ADD COLUMN generation_id TEXT NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
