-- Domains that apps have of their own, by what is live in production. The key decides whose a domain is.
CREATE TABLE domains (
    name text PRIMARY KEY,  -- hello.example.com, in lower case
    app  uuid NOT NULL REFERENCES apps ON DELETE CASCADE
);
CREATE INDEX domains_of_an_app ON domains (app);
