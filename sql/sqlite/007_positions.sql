-- Lists in the order of the log, which is that of their events for every subscriber; clocks of several instances differ.

-- Setting a position is no change of the row.
DROP TRIGGER users_touched;
DROP TRIGGER messages_touched;

-- Where the log has the event about it; of those from before the log 0, -1, … from the newest on.
ALTER TABLE users ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN position INTEGER NOT NULL DEFAULT 0;

UPDATE users SET position = placed.position
FROM (
    SELECT account.id,
           coalesce(event.position, 1 - row_number() OVER (
               PARTITION BY event.position IS NULL ORDER BY account.created_at DESC, account.id DESC
           )) AS position
    FROM users AS account
    LEFT JOIN events AS event ON event.subject = account.id AND event.type = 'user.created'
) AS placed
WHERE placed.id = users.id;

UPDATE messages SET position = placed.position
FROM (
    SELECT message.id,
           coalesce(event.position, 1 - row_number() OVER (
               PARTITION BY event.position IS NULL ORDER BY message.created_at DESC, message.id DESC
           )) AS position
    FROM messages AS message
    LEFT JOIN events AS event ON event.subject = message.id AND event.type = 'message.sent'
) AS placed
WHERE placed.id = messages.id;

DROP INDEX users_newest;
DROP INDEX messages_newest;
DROP INDEX messages_by_user;
DROP INDEX messages_by_channel;
DROP INDEX messages_by_user_and_channel;
DROP INDEX messages_by_recipient;

CREATE INDEX users_newest ON users (position);

-- Each list has its order from an index; the last columns let the index alone judge who may see a row.
CREATE INDEX messages_newest ON messages (position, user_id, recipient_id);
CREATE INDEX messages_by_user ON messages (user_id, position, recipient_id);
CREATE INDEX messages_by_channel ON messages (channel_id, position, user_id, recipient_id)
    WHERE channel_id IS NOT NULL;
CREATE INDEX messages_by_user_and_channel ON messages (user_id, channel_id, position, recipient_id)
    WHERE channel_id IS NOT NULL;
CREATE INDEX messages_by_recipient ON messages (recipient_id, position, user_id);

CREATE TRIGGER users_touched AFTER UPDATE ON users
WHEN new.updated_at = old.updated_at AND new.version = old.version
BEGIN
    UPDATE users
    SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), version = old.version + 1
    WHERE id = new.id;
END;

CREATE TRIGGER messages_touched AFTER UPDATE ON messages
WHEN new.updated_at = old.updated_at
BEGIN
    UPDATE messages SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.id;
END;
