-- What all servers on this database have to agree about: deployment_note, asked once at
-- each start and reload (master/deployment.c). Secrets stand here as fingerprints.
CREATE TABLE deployment (
    name text PRIMARY KEY,
    value text NOT NULL,
    server text NOT NULL, -- who noted it
    noted_at timestamptz NOT NULL DEFAULT now()
);
