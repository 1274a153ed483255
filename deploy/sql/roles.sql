-- PostgreSQL roles for Classyard, each with what its programs do and nothing more.
--
-- 1. As the owner of the database: classyard migrate
-- 2. As the owner, who may create roles:   psql -d classyard -f roles.sql
-- 3. Passwords, never in a file:           psql -d classyard -c '\password classyard_worker'
--
-- Run it again after every migration; it takes back what it does not give.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['classyard_worker', 'classyard_producer', 'classyard_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', role);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
    END LOOP;
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO classyard_worker, classyard_producer, classyard_reader;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM classyard_worker, classyard_producer, classyard_reader;

GRANT SELECT ON alembic_version, jobs, chunks, results, embeddings, predictions, workers,
    counters, arrivals
    TO classyard_worker, classyard_producer, classyard_reader;
-- Notices hold addresses that may be secret; readers have no use for them.
GRANT SELECT, INSERT, UPDATE ON notices TO classyard_worker, classyard_producer;
GRANT INSERT, UPDATE ON counters TO classyard_worker, classyard_producer;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO classyard_worker, classyard_producer;

-- The worker: results are written once and never changed. DELETE: a chunk that is split, a worker
-- that leaves, a job whose submitter died half-way.
GRANT UPDATE, DELETE ON jobs TO classyard_worker;
GRANT INSERT, UPDATE, DELETE ON chunks, workers TO classyard_worker;
GRANT INSERT ON results, embeddings TO classyard_worker;

-- The producer: retry and prune take results away, the sweep forgets workers that died.
GRANT INSERT, UPDATE, DELETE ON jobs, chunks, results TO classyard_producer;
GRANT DELETE ON embeddings TO classyard_producer;
GRANT DELETE ON workers TO classyard_producer;
GRANT INSERT, UPDATE ON arrivals TO classyard_producer;
