-- Lists in the order of the log, which is that of their events for every subscriber; clocks of several instances differ.

-- Setting a position is no change of the row.
ALTER TABLE users DISABLE TRIGGER users_touched;
ALTER TABLE messages DISABLE TRIGGER messages_touched;

ALTER TABLE users ADD COLUMN position bigint;
ALTER TABLE messages ADD COLUMN position bigint;

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

ALTER TABLE users ALTER COLUMN position SET NOT NULL;
ALTER TABLE messages ALTER COLUMN position SET NOT NULL;

ALTER TABLE users ENABLE TRIGGER users_touched;
ALTER TABLE messages ENABLE TRIGGER messages_touched;

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

COMMENT ON COLUMN users.position IS 'of the event about it in the log; of those from before the log 0, -1, … from the newest on';
COMMENT ON COLUMN messages.position IS 'of the event about it in the log; of those from before the log 0, -1, … from the newest on';
