-- What somebody said about a deploy; and that no schedule runs by the clock, from a restore until somebody resumes them.

ALTER TABLE deploys ADD COLUMN message text;
COMMENT ON COLUMN deploys.message IS 'What whoever made it by hand, by a rollback, said about it.';

CREATE TABLE schedule_hold (
    one   boolean     PRIMARY KEY DEFAULT true CHECK (one),
    since timestamptz NOT NULL,
    cause text        NOT NULL
);
COMMENT ON TABLE schedule_hold IS 'Holds one row while the schedules of all apps are held: none runs by the clock.';
