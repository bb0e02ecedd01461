-- Makes the partition of a month before its first row. Attaching locks the default partition against readers, so an
-- open reader can hold it up: three short tries, then the default partition takes the rows (false is returned).
CREATE FUNCTION pii_vault.ensure_month(day date) RETURNS boolean
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET "TimeZone" = 'UTC'
SET "DateStyle" = 'ISO, YMD'
SET lock_timeout = '500ms'
AS $$
DECLARE
    first_day constant date := date_trunc('month', day::timestamp)::date;
    next_month constant date := (first_day + interval '1 month')::date;
    partition constant text := 'login_events_' || to_char(first_day, 'YYYY_MM');
BEGIN
    IF day < date '0001-01-01' OR day > date '9999-11-30' THEN
        RETURN false;
    END IF;
    FOR attempt IN 1..3 LOOP
        IF to_regclass(format('pii_vault.%I', partition)) IS NOT NULL THEN
            RETURN true;
        END IF;
        BEGIN
            EXECUTE format(
                'CREATE TABLE pii_vault.%I (LIKE pii_vault.login_events INCLUDING ALL) WITH (fillfactor = 70)', partition);
            EXECUTE format(
                'ALTER TABLE pii_vault.login_events ATTACH PARTITION pii_vault.%I FOR VALUES FROM (%L) TO (%L)',
                partition, first_day, next_month);
            RETURN true;
        EXCEPTION
            -- Another ingestion process was first.
            WHEN duplicate_table OR unique_violation THEN NULL;
            WHEN lock_not_available OR deadlock_detected THEN NULL;
            -- The default partition has rows of this month already.
            WHEN check_violation THEN RETURN false;
        END;
    END LOOP;
    RETURN to_regclass(format('pii_vault.%I', partition)) IS NOT NULL;
END
$$;
COMMENT ON FUNCTION pii_vault.ensure_month IS
    'Makes the partition of the month of a day; false where its rows go to the default partition for now';

REVOKE EXECUTE ON FUNCTION pii_vault.ensure_month FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pii_vault.ensure_month TO pii_vault_ingest;
