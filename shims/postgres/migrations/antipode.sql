-- The lineage of rows, stored beside them.
--
-- Run this once per database (it may be run again), then for every table that the shim writes to:
--
--     SELECT antipode.add_lineage('posts');
--
-- A table gets one column, `antipode_lineage`. Inserts fill it from the transaction's setting
-- `antipode.lineage`; updates join the setting to what the row has. Writers that know nothing of this
-- go on as before: their inserts store NULL, their updates keep what is stored.

CREATE SCHEMA IF NOT EXISTS antipode;
-- The trigger runs as whoever writes to the table.
GRANT USAGE ON SCHEMA antipode TO PUBLIC;

-- Joins stored lineages: per field the greatest position. Positions are 16 hexadecimal digits, which
-- compare as texts. What is no position stays, so that no reader takes the rest for the whole; what is
-- no lineage stands for "everything", never for less. One query would say the same, at several times the
-- cost.
CREATE OR REPLACE FUNCTION antipode.join_lineage(VARIADIC lineages jsonb[]) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog
AS $$
DECLARE
    positions CONSTANT text := '^[0-9a-f]{16}$';
    joined jsonb;
    lineage jsonb;
    field text;
    place text;
    branched boolean := false;
BEGIN
    FOREACH lineage IN ARRAY lineages LOOP
        CONTINUE WHEN lineage IS NULL;
        IF jsonb_typeof(lineage) <> 'object' THEN
            lineage := '{"!everything": "0000000000000001"}';
        END IF;
        IF joined IS NULL THEN
            joined := lineage;
            CONTINUE;
        END IF;
        CONTINUE WHEN joined @> lineage;
        FOR field, place IN SELECT * FROM jsonb_each_text(lineage) LOOP
            place := coalesce(place, 'unreadable');
            IF NOT joined ? field
                OR (joined ->> field) ~ positions
                    AND (place !~ positions OR place > (joined ->> field) COLLATE "C")
            THEN
                joined := joined || jsonb_build_object(field, place);
                branched := branched OR field LIKE '!branch/%';
            END IF;
        END LOOP;
    END LOOP;
    -- Open branches that come together in a row do not grow without end: more than a lineage can hold are
    -- forgotten.
    IF branched AND (SELECT count(*) > 64 FROM jsonb_object_keys(joined) AS name WHERE name LIKE '!branch/%') THEN
        SELECT jsonb_object_agg(name, held) INTO joined
            FROM jsonb_each(joined) AS each (name, held) WHERE name NOT LIKE '!branch/%';
        joined := coalesce(joined, '{}') || '{"!branches": "0000000000000001"}';
    END IF;
    RETURN nullif(joined, '{}');
END
$$;

CREATE OR REPLACE FUNCTION antipode.keep_lineage() RETURNS trigger
    LANGUAGE plpgsql
AS $$
DECLARE
    held CONSTANT pg_catalog.jsonb := OLD.antipode_lineage;
    writer CONSTANT pg_catalog.jsonb :=
        nullif(pg_catalog.current_setting('antipode.lineage', true), '')::pg_catalog.jsonb;
BEGIN
    -- What the row has already, such as of an earlier statement of this transaction, needs no joining.
    IF held OPERATOR(pg_catalog.@>) writer AND NEW.antipode_lineage IS NOT DISTINCT FROM held THEN
        RETURN NEW;
    END IF;
    NEW.antipode_lineage := antipode.join_lineage(held, NEW.antipode_lineage, writer);
    RETURN NEW;
END
$$;

-- Gives a table its lineage column. The name is read as in SQL: `posts`, `blog.posts`, `"Posts"`.
CREATE OR REPLACE FUNCTION antipode.add_lineage(target regclass) RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS antipode_lineage jsonb', target);
    -- Once used on a connection the setting is empty rather than null.
    EXECUTE format(
        'ALTER TABLE %s ALTER COLUMN antipode_lineage '
        'SET DEFAULT nullif(current_setting(''antipode.lineage'', true), '''')::jsonb',
        target
    );
    -- The condition spares writers without lineage the call.
    EXECUTE format(
        'CREATE OR REPLACE TRIGGER antipode_lineage BEFORE UPDATE ON %s FOR EACH ROW '
        'WHEN (NEW.antipode_lineage IS DISTINCT FROM OLD.antipode_lineage '
        'OR nullif(current_setting(''antipode.lineage'', true), '''') IS NOT NULL) '
        'EXECUTE FUNCTION antipode.keep_lineage()',
        target
    );
END
$$;

-- Takes the lineage column away again.
CREATE OR REPLACE FUNCTION antipode.remove_lineage(target regclass) RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    EXECUTE format('DROP TRIGGER IF EXISTS antipode_lineage ON %s', target);
    EXECUTE format('ALTER TABLE %s DROP COLUMN IF EXISTS antipode_lineage', target);
END
$$;
