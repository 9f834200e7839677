-- Checksums of rows, by which those that read them notice what a disk or another program has changed.
-- The server's statements compute them (multiproto/storage/sqlite/checksums.py); a row has none until it is written again.

ALTER TABLE users ADD COLUMN crc32 INTEGER;         -- of what everybody may see
ALTER TABLE users ADD COLUMN private_crc32 INTEGER; -- of the other columns
ALTER TABLE messages ADD COLUMN crc32 INTEGER;      -- of the other columns
ALTER TABLE events ADD COLUMN crc32 INTEGER;        -- of the other columns

-- The server's own statements set the checksums, `updated_at` and the version; these cover a change by any other hand,
-- which has no function for a checksum: the row has none from then on.
DROP TRIGGER users_touched;
DROP TRIGGER messages_touched;

CREATE TRIGGER users_touched AFTER UPDATE ON users
WHEN new.crc32 IS old.crc32 AND new.private_crc32 IS old.private_crc32
BEGIN
    UPDATE users
    SET crc32 = NULL, private_crc32 = NULL,
        updated_at = iif(
            new.updated_at = old.updated_at AND new.version = old.version,
            strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), new.updated_at
        ),
        version = new.version + (new.updated_at = old.updated_at AND new.version = old.version)
    WHERE id = new.id;
END;

CREATE TRIGGER messages_touched AFTER UPDATE ON messages
WHEN new.crc32 IS old.crc32
BEGIN
    UPDATE messages
    SET crc32 = NULL,
        updated_at = iif(
            new.updated_at = old.updated_at, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), new.updated_at
        )
    WHERE id = new.id;
END;

CREATE TRIGGER events_touched AFTER UPDATE ON events
WHEN new.crc32 IS old.crc32 AND old.crc32 IS NOT NULL
BEGIN
    UPDATE events SET crc32 = NULL WHERE position = new.position;
END;
