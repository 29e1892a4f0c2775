-- A domain is an app's once that was proven, until it is released. What production names is a claim, and several apps can claim the same.

-- `domains` says whose a domain is. Those of a deleted app have ~ and its id before their names, so that others can have them.
-- dns, admin, trusted, or earlier (before proofs were asked for); NULL: an earlier version wrote the row, and nothing was proven
ALTER TABLE domains ADD COLUMN proof TEXT;
ALTER TABLE domains ADD COLUMN proven_at TEXT;
ALTER TABLE domains ADD COLUMN proven_by TEXT;
UPDATE domains SET proof = 'earlier', proven_at = strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now');

-- The domains that what is live in production names, proven or not.
CREATE TABLE domain_claims (
    app        TEXT NOT NULL REFERENCES apps ON DELETE CASCADE,
    name       TEXT NOT NULL,
    claimed_at TEXT NOT NULL,
    PRIMARY KEY (app, name)
) WITHOUT ROWID;
INSERT INTO domain_claims (app, name, claimed_at)
SELECT app, name, strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now') FROM domains;
