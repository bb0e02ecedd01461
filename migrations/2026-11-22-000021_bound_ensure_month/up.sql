-- As before, and bounded: ingestion may make the partitions of ten years back, for back-fills, and of two months ahead,
-- some 120 in all. Other rows go to the default partition, from which `retention --repair-default` takes them.
CREATE OR REPLACE FUNCTION pii_vault.ensure_month(day date) RETURNS boolean
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pii_vault, pg_temp
SET "TimeZone" = 'UTC'
SET "DateStyle" = 'ISO, YMD'
SET lock_timeout = '500ms'
AS $$
DECLARE
    this_month constant timestamp := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC');
    first_day date;
    next_month date;
    partition text;
    attached boolean;
BEGIN
    IF day < date '0001-01-01' OR day > date '9999-11-30' THEN
        RETURN false;
    END IF;
    first_day := date_trunc('month', day::timestamp)::date;
    next_month := (first_day + interval '1 month')::date;
    partition := 'login_events_' || to_char(first_day, 'YYYY_MM');

    FOR attempt IN 1..3 LOOP
        -- A table that only bears the name takes no rows.
        SELECT count(*) > 0 INTO attached FROM pg_inherits
            WHERE inhrelid = to_regclass('pii_vault.' || partition) AND inhparent = 'pii_vault.login_events'::regclass;
        IF attached THEN
            RETURN true;
        END IF;
        IF first_day < this_month - interval '10 years' OR first_day > this_month + interval '2 months' THEN
            RETURN false;
        END IF;
        BEGIN
            -- One at a time, or they would hold each other up at the default partition. Attaching takes it as well.
            LOCK TABLE ONLY pii_vault.login_events IN SHARE UPDATE EXCLUSIVE MODE;
            SELECT count(*) > 0 INTO attached FROM pg_inherits
                WHERE inhrelid = to_regclass('pii_vault.' || partition) AND inhparent = 'pii_vault.login_events'::regclass;
            IF attached THEN
                RETURN true;
            END IF;
            -- Then it cannot be attached. To learn that here spares everybody the lock on the default partition.
            IF EXISTS (
                SELECT FROM pii_vault.login_events_default WHERE create_date >= first_day AND create_date < next_month
            ) THEN
                RETURN false;
            END IF;
            EXECUTE format(
                'CREATE TABLE pii_vault.%I (LIKE pii_vault.login_events INCLUDING ALL) WITH (fillfactor = 70)', partition);
            EXECUTE format(
                'ALTER TABLE pii_vault.login_events ATTACH PARTITION pii_vault.%I FOR VALUES FROM (%L) TO (%L)',
                partition, first_day, next_month);
            RETURN true;
        EXCEPTION
            -- The name is taken by what is no partition.
            WHEN duplicate_table THEN RETURN false;
            WHEN lock_not_available OR deadlock_detected THEN NULL;
            -- Rows of this month came into the default partition just now.
            WHEN check_violation THEN RETURN false;
        END;
    END LOOP;
    RETURN false;
END
$$;
