-- One node has this database, so there are no others to be told; the column is there as in PostgreSQL.

ALTER TABLE apps ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
