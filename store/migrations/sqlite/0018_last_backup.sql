-- When the database was backed up.

-- At most one row. A backup has its own moment here, so that a restored database knows how old its latest backup is.
CREATE TABLE last_backup (
    one     INTEGER PRIMARY KEY CHECK (one),
    made_at TEXT    NOT NULL
);
