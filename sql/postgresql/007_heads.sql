-- Where the log ends, as rows that are only appended: one for each transaction, with a mark by which it is known again.
-- One row that each transaction updated left a dead version each time, and every later one had to step over those that
-- an open snapshot (pg_dump, say) kept.

CREATE TABLE heads (
    number   bigint PRIMARY KEY,
    position bigint NOT NULL,
    mark     text COLLATE "C" NOT NULL
);

INSERT INTO heads (number, position, mark) SELECT 1, position, md5(random()::text || clock_timestamp()::text) FROM head;

DROP TABLE head;

COMMENT ON TABLE heads IS 'The ends that the log has had, one for each transaction that wrote; old ones are pruned';
COMMENT ON COLUMN heads.number IS 'in commit order, dense; the greatest is the present head';
COMMENT ON COLUMN heads.position IS 'of the newest event ever at that time; 0 for none';
COMMENT ON COLUMN heads.mark IS 'random, by which its writer knows later that it was committed, and everybody that this is the same log';

-- Instances of an older version that still run would write past the marks: they are refused, with a line in their log.

CREATE FUNCTION refuse_older_version() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'this instance is older than its database: stop it, and start the version that the others have'
        USING ERRCODE = 'cannot_connect_now';
END
$$;

CREATE FUNCTION refuse_older_writer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refuse_older_version();
    RETURN NULL;
END
$$;

CREATE VIEW head AS SELECT 1 AS one, refuse_older_version() AS position;

CREATE TRIGGER head_refused INSTEAD OF UPDATE ON head FOR EACH ROW EXECUTE FUNCTION refuse_older_writer();

COMMENT ON VIEW head IS 'Refuses instances of versions that kept the end of the log here';
