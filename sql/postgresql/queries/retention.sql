-- The pruning of the log, by namespace, and the floors above which no entries are missing.

-- name: floors_all
-- For each namespace that is kept, the position up to which its events may be missing.
SELECT namespace, position FROM floors;

-- name: floors_forget
-- Namespaces that are not among :namespaces (a JSON array) are no longer kept by all instances.  Their floors stay, for
-- those that keep them still.
UPDATE floors SET is_kept = false
WHERE is_kept AND namespace NOT IN (SELECT json_array_elements_text(:namespaces::json));

-- name: floors_begin
-- Those of :namespaces (a JSON array) that were not kept by all instances so far are kept from the head on.
INSERT INTO floors (namespace, position)
SELECT value, (SELECT position FROM heads ORDER BY number DESC LIMIT 1)
FROM json_array_elements_text(:namespaces::json)
GROUP BY value
ON CONFLICT (namespace) DO UPDATE SET position = excluded.position, is_kept = true WHERE NOT floors.is_kept;

-- name: floor_raise
-- A namespace is pruned up to :position; no row if it had been already.
UPDATE floors SET position = :position WHERE namespace = :namespace AND position < :position;

-- name: log_prune
-- Delete the events of a namespace up to :upto.
DELETE FROM events WHERE namespace = :namespace AND position <= :upto;

-- name: clocks
-- The database's time of day, and the time of the newest event.
SELECT
    clock_timestamp() AS now,
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
        WHERE namespace = :namespace AND position <= :upto AND created_at >= :before
            AND created_at <= :now
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
SELECT position FROM events WHERE namespace = :namespace ORDER BY position LIMIT 1 OFFSET :n::bigint - 1;
