-- Previews have secrets of their own: whoever can push one can read what it reads.

CREATE TABLE preview_secrets (
    app    uuid        NOT NULL REFERENCES apps ON DELETE CASCADE,
    name   text        NOT NULL,
    key    text        NOT NULL,
    sealed bytea       NOT NULL,
    set_at timestamptz NOT NULL,
    set_by text        NOT NULL,
    PRIMARY KEY (app, name)
);
COMMENT ON TABLE preview_secrets IS 'What scripts of previews read as ctx.secrets, encrypted. Those of production are in secrets.';
COMMENT ON COLUMN preview_secrets.sealed IS 'As in secrets; bound to app, name, and that it is for previews.';

ALTER TABLE refs ADD COLUMN production_secrets boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN refs.production_secrets IS 'A preview that was pushed before there were secrets of previews, and reads those of production until it is pushed to.';
UPDATE refs SET production_secrets = true
WHERE name LIKE 'refs/heads/%'
    AND name <> (SELECT 'refs/heads/' || production_branch FROM apps WHERE apps.id = refs.app)
    AND EXISTS (SELECT 1 FROM secrets WHERE secrets.app = refs.app);
