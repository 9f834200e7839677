-- How far each instance has delivered the log: what a living one has not delivered is not pruned.

CREATE TABLE instances (
    id       text COLLATE "C" PRIMARY KEY,
    position bigint NOT NULL,
    seen_at  timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE instances IS 'Instances that run, and how far each has delivered the log';
COMMENT ON COLUMN instances.id IS 'random, made at each start';
COMMENT ON COLUMN instances.position IS 'up to which it has delivered the log';
COMMENT ON COLUMN instances.seen_at IS 'when it said so, by the clock of the database';
