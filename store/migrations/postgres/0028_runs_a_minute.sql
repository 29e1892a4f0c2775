-- How many runs of its schedules an app has begun within a minute, over all nodes.

CREATE TABLE schedule_usage (
    app    uuid        PRIMARY KEY REFERENCES apps ON DELETE CASCADE,
    minute timestamptz NOT NULL,
    runs   integer     NOT NULL
);
COMMENT ON TABLE schedule_usage IS 'How many runs of its schedules an app has begun within a minute. One row an app, which the next minute takes over.';
