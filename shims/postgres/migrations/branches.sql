-- The branch ledger: which branches of lineages still run, and how the others ended.
--
-- Run this once in the database of one store (it may be run again). Every service that starts, runs or
-- waits for branches needs SELECT, INSERT, UPDATE and DELETE on the table.

CREATE SCHEMA IF NOT EXISTS antipode;
GRANT USAGE ON SCHEMA antipode TO PUBLIC;

CREATE TABLE IF NOT EXISTS antipode.branches (
    id text PRIMARY KEY,
    name text NOT NULL,
    lease_ms bigint NOT NULL,
    -- Open until then, unless it is closed.
    leased_until timestamptz NOT NULL,
    -- The branches that it said it waits for.
    waits text NOT NULL DEFAULT '',
    -- What it ended with; NULL until it is closed.
    lineage text,
    kept_until timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS branches_kept_until ON antipode.branches (kept_until);
