-- In PostgreSQL each transaction leaves a row here. SQLite always says what became of one, so the only row is that of the last
-- look whether the database can be written.
CREATE TABLE outcomes (
    id        TEXT PRIMARY KEY NOT NULL,
    committed INTEGER NOT NULL,
    at        TEXT NOT NULL
);
