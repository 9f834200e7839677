-- name: migrations_begin
-- The table of the migrations that were applied to this database.
-- It is created here and not by a migration, since the first migration is recorded in it.
CREATE TABLE IF NOT EXISTS migrations (
    number     INTEGER NOT NULL PRIMARY KEY, -- its place in the order, from 1
    name       TEXT    NOT NULL,             -- its file
    checksum   TEXT    NOT NULL,             -- SHA-256 of that file, in hexadecimal
    applied_at TEXT    NOT NULL              -- when this database had it, RFC 3339
) STRICT;

-- name: migrations_applied
-- The applied migrations, in order.
SELECT number, name, checksum FROM migrations ORDER BY number;

-- name: migration_record
-- A migration was applied.
INSERT INTO migrations (number, name, checksum, applied_at) VALUES (:number, :name, :checksum, :at);
