-- Domains that apps have of their own, by what is live in production. The key decides whose a domain is.
CREATE TABLE domains (
    name TEXT PRIMARY KEY NOT NULL,  -- hello.example.com, in lower case
    app  TEXT NOT NULL REFERENCES apps ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX domains_of_an_app ON domains (app);
