-- Who may what, and who did what.

-- The production branch only goes forward, but for those who have the right to set it back.
ALTER TABLE apps ADD COLUMN protected INTEGER NOT NULL DEFAULT 0;

-- Tokens that work. One that is revoked is deleted.
CREATE TABLE tokens (
    id           TEXT PRIMARY KEY NOT NULL,
    name         TEXT NOT NULL UNIQUE,
    hash         BLOB NOT NULL UNIQUE,  -- the SHA-256 of the token, which is itself kept nowhere
    scopes       TEXT NOT NULL,         -- hello:deploy hello:read
    created_at   TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   TEXT,
    last_used_at TEXT                   -- written at most once a minute
);

-- Every act that changed something. Rows are never changed, and deleted when they are old.
CREATE TABLE audit (
    id         TEXT PRIMARY KEY NOT NULL,  -- a UUID of version 7: in the order of time
    at         TEXT NOT NULL,
    who        TEXT NOT NULL,
    token      TEXT,                       -- the token that was used; NULL: the admin token
    address    TEXT,
    request_id TEXT,
    action     TEXT NOT NULL,
    app        TEXT,                       -- the name of the app, whether it is still there or not
    subject    TEXT NOT NULL,              -- what was changed: a ref, a token, a schedule, a setting
    old_value  TEXT,
    new_value  TEXT,
    deploy     INTEGER
);
CREATE INDEX audit_of_an_app ON audit (app, id);
CREATE INDEX audit_by_age ON audit (at);
