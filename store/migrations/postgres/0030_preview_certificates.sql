-- The names of previews that a proxy was told to have certificates for. So many new ones a week, over all nodes.

CREATE TABLE preview_certificates (
    name       text        PRIMARY KEY,  -- next--hello.example.com, in lower case
    app        uuid        NOT NULL,
    granted_at timestamptz NOT NULL
);
COMMENT ON TABLE preview_certificates IS 'The names of previews for which a certificate can be had. Rows of apps that are gone count as the others do.';
CREATE INDEX preview_certificates_by_time ON preview_certificates (granted_at);
