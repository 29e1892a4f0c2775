-- Secrets of apps, encrypted with a key that is not in the database.

CREATE TABLE secrets (
    app    uuid        NOT NULL REFERENCES apps ON DELETE CASCADE,
    name   text        NOT NULL,
    key    text        NOT NULL,  -- what the key is known by
    sealed bytea       NOT NULL,
    set_at timestamptz NOT NULL,
    set_by text        NOT NULL,
    PRIMARY KEY (app, name)
);
COMMENT ON TABLE secrets IS 'What scripts read as ctx.secrets, encrypted.';
COMMENT ON COLUMN secrets.sealed IS 'XChaCha20-Poly1305: 24 bytes of nonce, ciphertext, tag; bound to app and name.';

ALTER TABLE apps ADD COLUMN secrets_generation bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN apps.secrets_generation IS 'Raised whenever a secret is set or unset, so that a node knows whether it serves the latest values.';

ALTER TABLE deploys ADD COLUMN because text;
COMMENT ON COLUMN deploys.because IS 'What made it, where that was no push: a secret that was set.';
