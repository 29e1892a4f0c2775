-- A domain is an app's once that was proven, until it is released. What production names is a claim, and several apps can claim the same.

ALTER TABLE domains ADD COLUMN proof text, ADD COLUMN proven_at timestamptz, ADD COLUMN proven_by text;
COMMENT ON TABLE domains IS 'Whose a domain is. Those of a deleted app have ~ and its id before their names, so that others can have them.';
COMMENT ON COLUMN domains.proof IS 'How it was proven: dns, admin, trusted, or earlier (before proofs were asked for). NULL: an earlier version wrote the row, and nothing was proven.';
UPDATE domains SET proof = 'earlier', proven_at = now();

CREATE TABLE domain_claims (
    app        uuid        NOT NULL REFERENCES apps ON DELETE CASCADE,
    name       text        NOT NULL,
    claimed_at timestamptz NOT NULL,
    PRIMARY KEY (app, name)
);
COMMENT ON TABLE domain_claims IS 'The domains that what is live in production names, proven or not.';
INSERT INTO domain_claims (app, name, claimed_at) SELECT app, name, now() FROM domains;
