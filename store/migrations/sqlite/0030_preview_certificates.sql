-- The names of previews that a proxy was told to have certificates for. So many new ones a week, over all nodes.

CREATE TABLE preview_certificates (
    name       TEXT NOT NULL PRIMARY KEY,  -- next--hello.example.com, in lower case
    app        TEXT NOT NULL,              -- rows of apps that are gone count as the others do
    granted_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX preview_certificates_by_time ON preview_certificates (granted_at);
