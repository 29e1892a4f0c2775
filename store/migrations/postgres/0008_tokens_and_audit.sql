-- Who may what, and who did what.

ALTER TABLE apps ADD COLUMN protected boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN apps.protected IS 'The production branch only goes forward, but for those who have the right to set it back.';

CREATE TABLE tokens (
    id           uuid        PRIMARY KEY,
    name         text        NOT NULL UNIQUE,
    hash         bytea       NOT NULL UNIQUE,
    scopes       text        NOT NULL,  -- hello:deploy hello:read
    created_at   timestamptz NOT NULL,
    created_by   text        NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz
);
COMMENT ON TABLE tokens IS 'Tokens that work. One that is revoked is deleted.';
COMMENT ON COLUMN tokens.hash IS 'The SHA-256 of the token, which is itself kept nowhere.';
COMMENT ON COLUMN tokens.last_used_at IS 'Written at most once a minute.';

CREATE TABLE audit (
    id         uuid        PRIMARY KEY,
    at         timestamptz NOT NULL,
    who        text        NOT NULL,
    token      uuid,
    address    text,
    request_id uuid,
    action     text        NOT NULL,
    app        text,
    subject    text        NOT NULL,
    old_value  text,
    new_value  text,
    deploy     bigint
);
COMMENT ON TABLE audit IS 'Every act that changed something. Rows are never changed, and deleted when they are old.';
COMMENT ON COLUMN audit.id IS 'A UUID of version 7: in the order of time.';
COMMENT ON COLUMN audit.token IS 'The token that was used; NULL: the admin token.';
COMMENT ON COLUMN audit.app IS 'The name of the app, whether it is still there or not.';
COMMENT ON COLUMN audit.subject IS 'What was changed: a ref, a token, a schedule, a setting.';
CREATE INDEX audit_of_an_app ON audit (app, id);
CREATE INDEX audit_by_age ON audit (at);
