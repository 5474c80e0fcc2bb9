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

-- Joins two stored lineages: per field the greater position. Positions are 16 hexadecimal digits, which
-- compare as texts. What is no position stays, so that no reader takes the rest for the whole; what is
-- no lineage stands for "everything", never for less.
--
-- Names are looked up along the writer's own search_path, where pg_catalog comes first unless it is listed.
CREATE OR REPLACE FUNCTION antipode.join_lineage(joined jsonb, added jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    positions CONSTANT text := '^[0-9a-f]{16}$';
    everything CONSTANT jsonb := '{"!everything": "0000000000000001"}';
BEGIN
    joined := coalesce(joined, '{}');
    added := coalesce(added, '{}');
    IF jsonb_typeof(joined) <> 'object' THEN
        joined := everything;
    END IF;
    IF jsonb_typeof(added) <> 'object' THEN
        added := everything;
    END IF;
    added := added - ARRAY(
        SELECT field FROM jsonb_each_text(added) AS each (field, place)
        WHERE joined ? field
            AND (joined ->> field ~ positions
                AND (place > (joined ->> field) COLLATE "C" OR (place ~ positions) IS NOT TRUE)) IS NOT TRUE
    );
    joined := joined || added;
    -- Open branches that come together in a row do not grow without end: more than a lineage can hold are
    -- forgotten.
    IF (SELECT count(*) > 64 FROM jsonb_object_keys(joined) AS field WHERE field LIKE '!branch/%') THEN
        SELECT coalesce(jsonb_object_agg(field, place), '{}') || '{"!branches": "0000000000000001"}' INTO joined
            FROM jsonb_each(joined) AS each (field, place) WHERE field NOT LIKE '!branch/%';
    END IF;
    RETURN nullif(joined, '{}');
END
$$;

CREATE OR REPLACE FUNCTION antipode.keep_lineage() RETURNS trigger
    LANGUAGE plpgsql
AS $$
DECLARE
    digits CONSTANT text := '0123456789abcdef';
    held CONSTANT jsonb := OLD.antipode_lineage;
    writer jsonb := nullif(current_setting('antipode.lineage', true), '')::jsonb;
    plain boolean := NEW.antipode_lineage IS NOT DISTINCT FROM held;
    pairs jsonb;
    field text;
    place text;
    here text;
BEGIN
    IF plain AND writer IS NULL THEN
        RETURN NEW;
    END IF;
    IF jsonb_typeof(writer) <> 'object' THEN
        plain := false;
    END IF;
    IF plain THEN
        -- Mostly whoever writes next knows of the same stores: then this is all the joining there is to do.
        -- Expressions only: a query in here would take as long as all of them.
        pairs := jsonb_path_query_array(writer, '$.keyvalue()');
        FOR at IN 0 .. jsonb_array_length(pairs) - 1 LOOP
            field := pairs -> at ->> 'key';
            place := pairs -> at ->> 'value';
            here := held ->> field;
            IF place >= here COLLATE "C" AND length(here) = 16 AND translate(here, digits, '') = '' THEN
                -- It takes the place of what is held.
            ELSIF place < here COLLATE "C" AND length(place) = 16 AND translate(place, digits, '') = '' THEN
                writer := writer - field;
            ELSE
                plain := false;
                EXIT;
            END IF;
        END LOOP;
    END IF;
    IF plain THEN
        NEW.antipode_lineage := held || writer;
    ELSE
        NEW.antipode_lineage := antipode.join_lineage(antipode.join_lineage(held, NEW.antipode_lineage), writer);
    END IF;
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
    EXECUTE format(
        'CREATE OR REPLACE TRIGGER antipode_lineage BEFORE UPDATE ON %s '
        'FOR EACH ROW EXECUTE FUNCTION antipode.keep_lineage()',
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
