-- Records that are kept, by app: where there are too many, the app that keeps most loses its oldest. And whose records were lost.

CREATE TABLE record_bytes (
    app   TEXT    NOT NULL,
    kind  TEXT    NOT NULL CHECK (kind IN ('executions', 'logs')),
    bytes INTEGER NOT NULL,
    PRIMARY KEY (app, kind)
) WITHOUT ROWID;
INSERT INTO record_bytes (app, kind, bytes)
SELECT app, 'executions',
    sum(200 + octet_length(script) + octet_length(target) + octet_length(node) + coalesce(octet_length(failure_message), 0))
FROM executions GROUP BY app;
INSERT INTO record_bytes (app, kind, bytes)
SELECT app, 'logs', sum(200 + octet_length(script) + octet_length(message) + coalesce(octet_length(data), 0))
FROM logs GROUP BY app;

ALTER TABLE losses ADD COLUMN app TEXT;  -- NULL: a row of an earlier version, about the records of any app
