-- Months 0001-01 to 9999-11 alone have names of their own; what is beyond stays in the default partition.
CREATE FUNCTION pii_vault.months_in_default() RETURNS TABLE (month date, row_count bigint)
LANGUAGE sql STABLE
SET search_path = pii_vault, pg_temp
SET "TimeZone" = 'UTC'
AS $$
    SELECT date_trunc('month', create_date::timestamp)::date, count(*)
    FROM pii_vault.login_events_default
    WHERE create_date >= date '0001-01-01' AND create_date < date '9999-12-01'
    GROUP BY 1 ORDER BY 1
$$;
COMMENT ON FUNCTION pii_vault.months_in_default IS 'The months that have rows in the default partition';
REVOKE EXECUTE ON FUNCTION pii_vault.months_in_default FROM PUBLIC;

CREATE TYPE pii_vault.month_repair AS ENUM ('in_place', 'moved', 'name_taken', 'locked_out', 'snapshot_held');
COMMENT ON TYPE pii_vault.month_repair IS
    'in_place: the default partition became the partition of the month; moved: its rows were moved to a new one; '
    'name_taken: its rows stay, another table has the name of its partition; '
    'locked_out: nothing was done, another session had login_events locked; '
    'snapshot_held: nothing was done, another session held a snapshot that would have missed moved rows';

-- Gives each month that has rows in the default partition a partition of its own, in one transaction.
--
-- The month with the most rows, as a rule the only one, is not moved: the default partition itself becomes its
-- partition, and a new, empty one takes its place. The rows stay where they are, so every snapshot sees each just once.
-- Rows of further months are moved. READ COMMITTED sees each of those just once as well. A transaction with one older
-- snapshot (REPEATABLE READ) might miss them, for its plan follows the new bounds while its snapshot does not see the
-- rows' new places: hence nothing is moved while another session of the database holds a snapshot. Of those that wait
-- for this function it cannot be told what snapshot they hold; they are let be.
--
-- Everything waits for ACCESS EXCLUSIVE on login_events. On the default partition alone it is not enough: a query that
-- waits for that has been planned already, without the partitions that are made here, and would miss their rows.
CREATE FUNCTION pii_vault.repair_default() RETURNS TABLE (month date, row_count bigint, outcome pii_vault.month_repair)
LANGUAGE plpgsql
SET search_path = pii_vault, pg_temp
SET "TimeZone" = 'UTC'
SET "DateStyle" = 'ISO, YMD'
SET lock_timeout = '2s'
AS $$
DECLARE
    months date[];
    counts bigint[];
    largest date;
    default_becomes text;
    renamed text;
    moved bigint;
BEGIN
    BEGIN
        LOCK TABLE pii_vault.login_events IN ACCESS EXCLUSIVE MODE;
        SELECT array_agg(d.month ORDER BY d.row_count DESC, d.month), array_agg(d.row_count ORDER BY d.row_count DESC, d.month)
            INTO months, counts FROM pii_vault.months_in_default() AS d
            -- A stray table that has the name of one month must not hold up the others: its rows stay in the default.
            WHERE to_regclass('pii_vault.login_events_' || to_char(d.month, 'YYYY_MM')) IS NULL;
        RETURN QUERY SELECT d.month, d.row_count, 'name_taken'::pii_vault.month_repair
            FROM pii_vault.months_in_default() AS d
            WHERE to_regclass('pii_vault.login_events_' || to_char(d.month, 'YYYY_MM')) IS NOT NULL;
        IF months IS NULL THEN
            RETURN;
        END IF;
        largest := months[1];
        default_becomes := 'login_events_' || to_char(largest, 'YYYY_MM');

        ALTER TABLE pii_vault.login_events DETACH PARTITION pii_vault.login_events_default;
        FOR renamed IN
            SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
            WHERE i.indrelid = 'pii_vault.login_events_default'::regclass
        LOOP
            EXECUTE format('ALTER INDEX pii_vault.%I RENAME TO %I',
                renamed, replace(renamed, 'login_events_default', default_becomes));
        END LOOP;
        EXECUTE format('ALTER TABLE pii_vault.login_events_default RENAME TO %I', default_becomes);
        CREATE TABLE pii_vault.login_events_default
            PARTITION OF pii_vault.login_events DEFAULT WITH (fillfactor = 70);

        FOREACH repair_default.month IN ARRAY months[2:] LOOP
            EXECUTE format(
                'CREATE TABLE pii_vault.%I PARTITION OF pii_vault.login_events FOR VALUES FROM (%L) TO (%L) WITH (fillfactor = 70)',
                'login_events_' || to_char(repair_default.month, 'YYYY_MM'),
                repair_default.month, (repair_default.month + interval '1 month')::date);
        END LOOP;
        -- Through the parent: each row to its month, and what has none to the new default partition.
        EXECUTE format(
            'WITH moved AS (DELETE FROM pii_vault.%I WHERE create_date < %L OR create_date >= %L RETURNING *)
             INSERT INTO pii_vault.login_events SELECT * FROM moved',
            default_becomes, largest, (largest + interval '1 month')::date);
        GET DIAGNOSTICS moved = ROW_COUNT;
        EXECUTE format('ALTER TABLE pii_vault.login_events ATTACH PARTITION pii_vault.%I FOR VALUES FROM (%L) TO (%L)',
            default_becomes, largest, (largest + interval '1 month')::date);

        -- pg_stat_activity shows to everybody who holds a snapshot. Autovacuum has no user.
        IF moved > 0 AND EXISTS (
            SELECT FROM pg_stat_activity AS a
            WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL
            AND a.backend_xmin IS NOT NULL AND pg_backend_pid() <> ALL (pg_blocking_pids(a.pid))
        ) THEN
            RAISE object_in_use;
        END IF;
        RETURN QUERY SELECT m.month, m.row_count, CASE WHEN m.month = largest THEN 'in_place' ELSE 'moved' END::pii_vault.month_repair
            FROM unnest(months, counts) AS m (month, row_count) ORDER BY 1;
    -- Out of the block, everything in it is undone and its locks are free.
    EXCEPTION
        WHEN lock_not_available OR deadlock_detected THEN
            RETURN QUERY SELECT NULL::date, 0::bigint, 'locked_out'::pii_vault.month_repair;
        WHEN object_in_use THEN
            RETURN QUERY SELECT NULL::date, 0::bigint, 'snapshot_held'::pii_vault.month_repair;
    END;
END
$$;
COMMENT ON FUNCTION pii_vault.repair_default IS
    'Gives each month with rows in the default partition a partition of its own, or says why not now. For the owner alone';
REVOKE EXECUTE ON FUNCTION pii_vault.repair_default FROM PUBLIC;
