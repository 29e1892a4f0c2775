-- How many runs of its schedules an app has begun within a minute, over all nodes.

CREATE TABLE schedule_usage (
    app    TEXT    NOT NULL PRIMARY KEY REFERENCES apps ON DELETE CASCADE,
    minute TEXT    NOT NULL,  -- the one that is counted; one row an app, which the next minute takes over
    runs   INTEGER NOT NULL
) WITHOUT ROWID;
