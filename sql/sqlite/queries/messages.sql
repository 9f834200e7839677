-- Every list holds only messages that :viewer may see: those to no recipient, and those from or to :viewer.

-- name: message_by_id
-- One message, without regard to who may see it.
SELECT id, user_id, content, channel_id, recipient_id, created_at, updated_at
FROM messages
WHERE id = :id;

-- name: messages_page
-- At most :limit messages after the :offset newest, newest first.
SELECT id, user_id, content, channel_id, recipient_id, created_at, updated_at
FROM messages INDEXED BY messages_newest
WHERE recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer
ORDER BY created_at DESC, id DESC
LIMIT :limit OFFSET :offset;

-- name: messages_count
-- How many there are: open ones, those to :viewer, and those from :viewer to others.
SELECT (SELECT count(*) FROM messages WHERE recipient_id IS NULL)
     + (SELECT count(*) FROM messages WHERE recipient_id = :viewer)
     + (SELECT count(*) FROM messages WHERE user_id = :viewer AND recipient_id <> :viewer) AS total;

-- name: messages_page_by_user
-- The same of one author.
SELECT id, user_id, content, channel_id, recipient_id, created_at, updated_at
FROM messages INDEXED BY messages_by_user
WHERE user_id = :user_id AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer)
ORDER BY created_at DESC, id DESC
LIMIT :limit OFFSET :offset;

-- name: messages_count_by_user
-- How many there are of one author.
SELECT count(*) AS total
FROM messages INDEXED BY messages_by_user
WHERE user_id = :user_id AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer);

-- name: messages_page_by_channel
-- The same in one channel.
SELECT id, user_id, content, channel_id, recipient_id, created_at, updated_at
FROM messages INDEXED BY messages_by_channel
WHERE channel_id = :channel_id AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer)
ORDER BY created_at DESC, id DESC
LIMIT :limit OFFSET :offset;

-- name: messages_count_by_channel
-- How many there are in one channel.
SELECT count(*) AS total
FROM messages INDEXED BY messages_by_channel
WHERE channel_id = :channel_id AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer);

-- name: messages_page_by_user_and_channel
-- The same of one author in one channel.
SELECT id, user_id, content, channel_id, recipient_id, created_at, updated_at
FROM messages INDEXED BY messages_by_user_and_channel
WHERE user_id = :user_id AND channel_id = :channel_id
  AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer)
ORDER BY created_at DESC, id DESC
LIMIT :limit OFFSET :offset;

-- name: messages_count_by_user_and_channel
-- How many there are of one author in one channel.
SELECT count(*) AS total
FROM messages INDEXED BY messages_by_user_and_channel
WHERE user_id = :user_id AND channel_id = :channel_id
  AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer);

-- name: messages_of_users_page
-- The page of each of :user_ids (a JSON array), each newest first.
-- One index scan per author reads no further than the page; a window function would read all their messages.
SELECT message.id, message.user_id, message.content, message.channel_id, message.recipient_id,
       message.created_at, message.updated_at
FROM (SELECT DISTINCT value FROM json_each(:user_ids)) AS author
CROSS JOIN messages AS message ON message.id IN (
    SELECT id
    FROM messages INDEXED BY messages_by_user
    WHERE user_id = author.value AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer)
    ORDER BY created_at DESC, id DESC
    LIMIT :limit OFFSET :offset
)
ORDER BY message.user_id, message.created_at DESC, message.id DESC;

-- name: messages_of_users_count
-- How many there are of each of :user_ids (a JSON array); no row for those without any.
SELECT user_id, count(*) AS total
FROM messages INDEXED BY messages_by_user
WHERE user_id IN (SELECT value FROM json_each(:user_ids))
  AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer)
GROUP BY user_id;

-- name: message_add
-- A message; violates a constraint when its author or recipient is deleted.
INSERT INTO messages (id, user_id, content, channel_id, recipient_id, created_at, updated_at)
VALUES (:id, :user_id, :content, :channel_id, :recipient_id, :at, :at);

-- name: message_drop
-- Delete a message.
DELETE FROM messages WHERE id = :id;
