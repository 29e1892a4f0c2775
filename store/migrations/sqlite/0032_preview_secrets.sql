-- Previews have secrets of their own: whoever can push one can read what it reads.

-- What scripts of previews read as ctx.secrets. Those of production are in `secrets`.
CREATE TABLE preview_secrets (
    app    TEXT NOT NULL REFERENCES apps ON DELETE CASCADE,
    name   TEXT NOT NULL,
    key    TEXT NOT NULL,  -- what the key is known by
    sealed BLOB NOT NULL,  -- as in `secrets`; bound to app, name, and that it is for previews
    set_at TEXT NOT NULL,
    set_by TEXT NOT NULL,
    PRIMARY KEY (app, name)
) WITHOUT ROWID;

-- A preview that was pushed before there were any reads those of production until it is pushed to.
ALTER TABLE refs ADD COLUMN production_secrets INTEGER NOT NULL DEFAULT 0;
UPDATE refs SET production_secrets = 1
WHERE name LIKE 'refs/heads/%'
    AND name <> (SELECT 'refs/heads/' || production_branch FROM apps WHERE apps.id = refs.app)
    AND EXISTS (SELECT 1 FROM secrets WHERE secrets.app = refs.app);
