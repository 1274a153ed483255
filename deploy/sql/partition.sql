-- Make `results` a table partitioned by job, for a yard that keeps billions of rows (PostgreSQL).
--
-- As the owner, after `classyard migrate`, while no worker runs:
--     psql -d classyard -v ON_ERROR_STOP=1 -f partition.sql
-- then roles.sql again. What is there becomes the first partition, without being copied. Each further
-- partition holds the jobs of one range:
--     SELECT classyard_partition(5000, 10000);   -- jobs 5000 to 9999, before the first of them exists
-- Jobs beyond every range go to the partition `results_rest`, so that no job can fail for want of one.
-- Old ranges go away at once, without DELETE: DROP TABLE results_1000; then `classyard prune`.

BEGIN;
LOCK TABLE results IN ACCESS EXCLUSIVE MODE;

DO $$
DECLARE
    view_text text := pg_get_viewdef('predictions'::regclass);
    last_job bigint;
    found record;
BEGIN
    IF EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = 'results'::regclass) THEN
        RAISE EXCEPTION 'results is partitioned already';
    END IF;
    SELECT coalesce(max(id), 0) INTO last_job FROM jobs;
    DROP VIEW predictions;
    ALTER TABLE results RENAME TO results_0;
    -- Migrations address indexes and constraints by name: the names belong to the whole table.
    FOR found IN SELECT conname FROM pg_constraint
                 WHERE conrelid = 'results_0'::regclass AND contype IN ('p', 'f') LOOP
        EXECUTE format('ALTER TABLE results_0 RENAME CONSTRAINT %I TO %I', found.conname, found.conname || '_0');
    END LOOP;
    FOR found IN SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                 WHERE i.indrelid = 'results_0'::regclass AND c.relname NOT LIKE '%\_0' LOOP
        EXECUTE format('ALTER INDEX %I RENAME TO %I', found.relname, found.relname || '_0');
    END LOOP;
    CREATE TABLE results (LIKE results_0 INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
        PARTITION BY RANGE (job_id);
    ALTER TABLE results ADD CONSTRAINT pk_results PRIMARY KEY (job_id, position);
    FOR found IN SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
                 WHERE conrelid = 'results_0'::regclass AND contype = 'f' LOOP
        EXECUTE format('ALTER TABLE results ADD CONSTRAINT %I %s', regexp_replace(found.conname, '_0$', ''), found.definition);
    END LOOP;
    FOR found IN SELECT pg_get_indexdef(i.indexrelid) AS definition FROM pg_index i
                 WHERE i.indrelid = 'results_0'::regclass AND NOT i.indisprimary LOOP
        EXECUTE regexp_replace(found.definition, 'INDEX (\S+)_0 ON (\S+)results_0 ', 'INDEX \1 ON \2results ');
    END LOOP;
    EXECUTE format('ALTER TABLE results ATTACH PARTITION results_0 FOR VALUES FROM (MINVALUE) TO (%s)', last_job + 1);
    CREATE TABLE results_rest PARTITION OF results DEFAULT;
    EXECUTE 'CREATE VIEW predictions AS ' || view_text;
END
$$;

CREATE OR REPLACE FUNCTION classyard_partition(first_job bigint, end_job bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE results_%s PARTITION OF results FOR VALUES FROM (%s) TO (%s)',
                   first_job, first_job, end_job);
END
$$;
REVOKE ALL ON FUNCTION classyard_partition(bigint, bigint) FROM PUBLIC;
COMMIT;
