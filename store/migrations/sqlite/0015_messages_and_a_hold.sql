-- What somebody said about a deploy; and that no schedule runs by the clock, from a restore until somebody resumes them.

-- What whoever made it by hand, by a rollback, said about it.
ALTER TABLE deploys ADD COLUMN message TEXT;

-- Holds one row while the schedules of all apps are held: none runs by the clock.
CREATE TABLE schedule_hold (
    one   INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    since TEXT    NOT NULL,
    cause TEXT    NOT NULL
);
