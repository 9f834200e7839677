-- The savepoint around each unit of work, and the notification of other instances.

-- name: unit_begin
-- Begin a unit.
SAVEPOINT unit;

-- name: unit_undo
-- Undo the unit.
ROLLBACK TO SAVEPOINT unit;

-- name: unit_end
-- Keep the unit.
RELEASE SAVEPOINT unit;

-- name: log_notify
-- Notify every instance, at the commit, that the log has grown.
NOTIFY multiproto_log;
