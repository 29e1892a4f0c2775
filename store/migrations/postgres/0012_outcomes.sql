-- What became of transactions: each leaves a row when it is committed. Where the answer to COMMIT is lost, whoever waits for it
-- enters the same id: either it is there, or the transaction cannot be committed any more. Rows are deleted after an hour.
CREATE TABLE outcomes (
    id        uuid PRIMARY KEY,
    committed boolean NOT NULL,
    at        timestamptz NOT NULL DEFAULT now()
);
