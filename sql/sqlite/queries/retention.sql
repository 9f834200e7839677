-- The pruning of the log, by namespace, and the floors above which no entries are missing.

-- name: floors_all
-- For each namespace that is kept, the position up to which its events may be missing.
SELECT namespace, position FROM floors;

-- name: floors_forget
-- Delete the floors of namespaces that are not among :namespaces (a JSON array): they are no longer kept.
DELETE FROM floors WHERE namespace NOT IN (SELECT value FROM json_each(:namespaces));

-- name: floors_begin
-- Those of :namespaces (a JSON array) that were not kept so far are kept from the head on.
INSERT INTO floors (namespace, position)
SELECT value, position FROM json_each(:namespaces), head WHERE true
ON CONFLICT DO NOTHING;

-- name: floor_raise
-- A namespace is pruned up to :position; no row if it had been already.
UPDATE floors SET position = :position WHERE namespace = :namespace AND position < :position;

-- name: log_prune
-- Delete the events of a namespace up to :upto.
DELETE FROM events WHERE namespace = :namespace AND position <= :upto;

-- name: clocks
-- The database's time of day, of which there is none here but that of the process, and the time of the newest event.
SELECT
    NULL AS now,
    (SELECT created_at FROM events WHERE position = (SELECT max(position) FROM events)) AS newest;

-- name: log_oldest
-- The earliest time of an event of a namespace that is not before :since.
SELECT created_at AS at
FROM events
WHERE namespace = :namespace AND created_at >= :since
ORDER BY created_at
LIMIT 1;

-- name: log_young
-- The position of an event, of whatever namespace, that did not happen before :before: one of the first such.
-- What comes after it in the log is younger, whatever its own time says.  Those that claim to be from after :now were
-- stamped by a clock that was ahead, and prove nothing.
SELECT min(position) AS position
FROM (
    SELECT (
        SELECT position FROM events
        WHERE namespace = floors.namespace AND created_at >= :before AND created_at <= :now
        ORDER BY created_at, position
        LIMIT 1
    ) AS position
    FROM floors
) AS young;

-- name: log_expired
-- The newest event of a namespace that happened before :before, if any.
SELECT position
FROM events
WHERE namespace = :namespace AND created_at < :before
ORDER BY created_at DESC, position DESC
LIMIT 1;

-- name: log_expired_upto
-- The newest event of a namespace, up to :upto, before the first that did not happen before :before, if any.
-- What was stamped while the clock was set back only seems older than what came before it.  Those that claim to be
-- from after :now were stamped by a clock that was ahead, and prove nothing.
SELECT max(position) AS position
FROM events
WHERE namespace = :namespace AND position <= :upto AND position < coalesce(
    (
        SELECT position FROM events
        WHERE namespace = :namespace AND position <= :upto AND +created_at >= :before
            AND +created_at <= :now
        ORDER BY position
        LIMIT 1
    ),
    :upto + 1
);

-- name: log_surplus
-- The newest event of a namespace that is not among its :most newest, if any.
SELECT position FROM events WHERE namespace = :namespace ORDER BY position DESC LIMIT 1 OFFSET :most;

-- name: log_nth
-- The :n-th oldest event of a namespace, counted from 1, if it has so many.
SELECT position FROM events WHERE namespace = :namespace ORDER BY position LIMIT 1 OFFSET :n - 1;
