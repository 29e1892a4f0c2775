-- Secrets of apps, encrypted with a key that is not in the database.

-- What scripts read as ctx.secrets.
CREATE TABLE secrets (
    app    TEXT NOT NULL REFERENCES apps ON DELETE CASCADE,
    name   TEXT NOT NULL,
    key    TEXT NOT NULL,  -- what the key is known by
    sealed BLOB NOT NULL,  -- XChaCha20-Poly1305: 24 bytes of nonce, ciphertext, tag; bound to app and name
    set_at TEXT NOT NULL,
    set_by TEXT NOT NULL,
    PRIMARY KEY (app, name)
) WITHOUT ROWID;

-- Raised whenever a secret is set or unset, so that a node knows whether it serves the latest values.
ALTER TABLE apps ADD COLUMN secrets_generation INTEGER NOT NULL DEFAULT 0;

-- What made a deploy, where that was no push: a secret that was set.
ALTER TABLE deploys ADD COLUMN because TEXT;
