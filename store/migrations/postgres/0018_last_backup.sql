-- When the database was backed up, and what nodes say of their machines.

-- At most one row. A backup has its own moment here, so that a restored database knows how old its latest backup is.
CREATE TABLE last_backup (
    one     boolean     PRIMARY KEY CHECK (one),
    made_at timestamptz NOT NULL
);

ALTER TABLE nodes
    ADD COLUMN clock_skew_ms   bigint,  -- how far the node's clock is ahead of the database's
    ADD COLUMN disk_free_bytes bigint,  -- of the file system with its data folder
    ADD COLUMN disk_size_bytes bigint;
