-- What a writer says around its units of work.

-- name: unit_begin
-- From here on, things can be undone.
SAVEPOINT unit;

-- name: unit_undo
-- Undo what was done since.
ROLLBACK TO SAVEPOINT unit;

-- name: unit_end
-- Keep it.
RELEASE SAVEPOINT unit;

-- name: log_notify
-- Tell every instance that the log is longer, once this is committed.
NOTIFY multiproto_log;
