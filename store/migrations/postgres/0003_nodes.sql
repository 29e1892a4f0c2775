-- Several nodes share the database: who they are, and what each of them serves.

ALTER TABLE apps ADD COLUMN generation bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN apps.generation IS 'Raised by every push, so that a node knows whether it serves what the latest one left.';

CREATE TABLE nodes (
    id         uuid        PRIMARY KEY,
    name       text        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('all', 'manager', 'node')),
    program    text        NOT NULL,  -- the version of PiCloud
    address    text        NOT NULL,  -- where it listens
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    trouble    text
);
COMMENT ON TABLE nodes IS 'The running nodes. Each says every few seconds that it is there; who is not heard of is deleted by the others.';
COMMENT ON COLUMN nodes.trouble IS 'Why the node is not ready; NULL: it is.';

CREATE TABLE served (
    node       uuid        NOT NULL REFERENCES nodes ON DELETE CASCADE,
    repository integer     NOT NULL REFERENCES apps (repository) ON DELETE CASCADE,
    generation bigint      NOT NULL,
    since      timestamptz NOT NULL,
    fault      text,
    PRIMARY KEY (node, repository)
);
CREATE INDEX served_of_an_app ON served (repository);
COMMENT ON TABLE served IS 'Up to which generation of an app each node is.';
COMMENT ON COLUMN served.fault IS 'Why the node cannot serve that generation; NULL: it does.';
