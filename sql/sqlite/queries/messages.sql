-- Every list is in the order of the log, whatever the clocks said, and holds only messages that :viewer may see: those to no recipient, and those from or to :viewer.
-- Where topic rules keep :viewer out of channels, narrower lists take the place of these: of messages to no recipient, they
-- hold only those from :viewer and those in channels that :viewer may read.
-- What is from or to an account that was closed is in none, also where it is still to be deleted.
--
-- A page has what lies before the position :bound, the newest of it first; its mirror what lies after :bound, the oldest of it first.

-- name: message_by_id
-- One message, without regard to who may see it.
SELECT id, user_id, content, channel_id, recipient_id, created_at, updated_at, crc32
FROM messages
WHERE id = :id AND user_id NOT IN (SELECT user_id FROM closed_accounts)
  AND coalesce(recipient_id, user_id) NOT IN (SELECT user_id FROM closed_accounts);

-- name: messages_page
-- mirror: messages_page_after
-- At most :limit messages, behind the first :offset ones.
SELECT id, user_id, content, channel_id, recipient_id, created_at, updated_at, crc32, position
FROM messages INDEXED BY messages_newest
WHERE position < :bound AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer)
  AND user_id NOT IN (SELECT user_id FROM closed_accounts)
  AND coalesce(recipient_id, user_id) NOT IN (SELECT user_id FROM closed_accounts)
ORDER BY position DESC
LIMIT :limit OFFSET :offset;

-- name: messages_count
-- How many there are: open ones, those to :viewer, and those from :viewer to others.
SELECT (SELECT count(*) FROM messages WHERE recipient_id IS NULL)
     + (SELECT count(*) FROM messages WHERE recipient_id = :viewer)
     + (SELECT count(*) FROM messages WHERE user_id = :viewer AND recipient_id <> :viewer)
     - (SELECT count(*) FROM messages_of_closed_accounts
        WHERE recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer) AS total;

-- name: messages_page_by_user
-- mirror: messages_page_after_by_user
-- The same of one author.
SELECT id, user_id, content, channel_id, recipient_id, created_at, updated_at, crc32, position
FROM messages INDEXED BY messages_by_user
WHERE user_id = :user_id AND position < :bound AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer)
  AND user_id NOT IN (SELECT user_id FROM closed_accounts)
  AND coalesce(recipient_id, user_id) NOT IN (SELECT user_id FROM closed_accounts)
ORDER BY position DESC
LIMIT :limit OFFSET :offset;

-- name: messages_count_by_user
-- How many there are of one author.
SELECT (SELECT count(*)
        FROM messages INDEXED BY messages_by_user
        WHERE user_id = :user_id AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer))
     - (SELECT count(*)
        FROM messages_of_closed_accounts
        WHERE user_id = :user_id AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer)) AS total;

-- name: messages_page_by_channel
-- mirror: messages_page_after_by_channel
-- The same in one channel.
SELECT id, user_id, content, channel_id, recipient_id, created_at, updated_at, crc32, position
FROM messages INDEXED BY messages_by_channel
WHERE channel_id = :channel_id AND position < :bound AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer)
  AND user_id NOT IN (SELECT user_id FROM closed_accounts)
  AND coalesce(recipient_id, user_id) NOT IN (SELECT user_id FROM closed_accounts)
ORDER BY position DESC
LIMIT :limit OFFSET :offset;

-- name: messages_count_by_channel
-- How many there are in one channel.
SELECT (SELECT count(*)
        FROM messages INDEXED BY messages_by_channel
        WHERE channel_id = :channel_id AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer))
     - (SELECT count(*)
        FROM messages_of_closed_accounts
        WHERE channel_id = :channel_id AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer)) AS total;

-- name: messages_page_by_user_and_channel
-- mirror: messages_page_after_by_user_and_channel
-- The same of one author in one channel.
SELECT id, user_id, content, channel_id, recipient_id, created_at, updated_at, crc32, position
FROM messages INDEXED BY messages_by_user_and_channel
WHERE user_id = :user_id AND channel_id = :channel_id AND position < :bound
  AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer)
  AND user_id NOT IN (SELECT user_id FROM closed_accounts)
  AND coalesce(recipient_id, user_id) NOT IN (SELECT user_id FROM closed_accounts)
ORDER BY position DESC
LIMIT :limit OFFSET :offset;

-- name: messages_count_by_user_and_channel
-- How many there are of one author in one channel.
SELECT (SELECT count(*)
        FROM messages INDEXED BY messages_by_user_and_channel
        WHERE user_id = :user_id AND channel_id = :channel_id
        AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer))
     - (SELECT count(*)
        FROM messages_of_closed_accounts
        WHERE user_id = :user_id AND channel_id = :channel_id
        AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer)) AS total;

-- name: messages_of_users_page
-- mirror: messages_of_users_page_after
-- The page of each of :user_ids (a JSON array), each newest first.
-- One index scan per author reads no further than the page; a window function would read all their messages.
SELECT message.id, message.user_id, message.content, message.channel_id, message.recipient_id,
       message.created_at, message.updated_at, message.crc32, message.position
FROM (SELECT DISTINCT value FROM json_each(:user_ids)) AS author
CROSS JOIN messages AS message ON message.id IN (
    SELECT id
    FROM messages INDEXED BY messages_by_user
    WHERE user_id = author.value AND position < :bound AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer)
      AND user_id NOT IN (SELECT user_id FROM closed_accounts)
      AND coalesce(recipient_id, user_id) NOT IN (SELECT user_id FROM closed_accounts)
    ORDER BY position DESC
    LIMIT :limit OFFSET :offset
)
ORDER BY message.user_id, message.position DESC;

-- name: messages_of_users_count
-- How many there are of each of :user_ids (a JSON array); no row for those without any.
SELECT user_id, count(*) AS total
FROM messages INDEXED BY messages_by_user
WHERE user_id IN (SELECT value FROM json_each(:user_ids))
  AND (recipient_id IS NULL OR user_id = :viewer OR recipient_id = :viewer)
  AND user_id NOT IN (SELECT user_id FROM closed_accounts)
  AND coalesce(recipient_id, user_id) NOT IN (SELECT user_id FROM closed_accounts)
GROUP BY user_id;

-- name: messages_page_only_in
-- mirror: messages_page_after_only_in
-- The page of all messages, for a :viewer who may read only :channels (a JSON array).
-- Of each channel, and of what :viewer sent and received, it reads no further than the page.
SELECT id, user_id, content, channel_id, recipient_id, created_at, updated_at, crc32, position
FROM messages
WHERE id IN (
    SELECT message.id
    FROM (SELECT DISTINCT value FROM json_each(:channels)) AS channel
    CROSS JOIN messages AS message ON message.id IN (
        SELECT id
        FROM messages INDEXED BY messages_by_channel
        WHERE channel_id = channel.value AND recipient_id IS NULL AND position < :bound
          AND user_id NOT IN (SELECT user_id FROM closed_accounts)
        ORDER BY position DESC
        LIMIT :limit + :offset
    )
    UNION ALL
    SELECT id FROM (
        SELECT id
        FROM messages INDEXED BY messages_by_user
        WHERE user_id = :viewer AND position < :bound
          AND coalesce(recipient_id, user_id) NOT IN (SELECT user_id FROM closed_accounts)
        ORDER BY position DESC
        LIMIT :limit + :offset
    )
    UNION ALL
    SELECT id FROM (
        SELECT id
        FROM messages INDEXED BY messages_by_recipient
        WHERE recipient_id = :viewer AND position < :bound AND user_id NOT IN (SELECT user_id FROM closed_accounts)
        ORDER BY position DESC
        LIMIT :limit + :offset
    )
)
ORDER BY position DESC
LIMIT :limit OFFSET :offset;

-- name: messages_count_only_in
-- How many there are: in :channels, to :viewer, from :viewer to others, and from :viewer in other channels.
SELECT (SELECT count(*)
        FROM messages INDEXED BY messages_by_channel
        WHERE recipient_id IS NULL AND channel_id IN (SELECT value FROM json_each(:channels)))
     + (SELECT count(*) FROM messages WHERE recipient_id = :viewer)
     + (SELECT count(*) FROM messages WHERE user_id = :viewer AND recipient_id <> :viewer)
     + (SELECT count(*)
        FROM messages INDEXED BY messages_by_user_and_channel
        WHERE user_id = :viewer AND recipient_id IS NULL
          AND channel_id IS NOT NULL AND channel_id NOT IN (SELECT value FROM json_each(:channels)))
     - (SELECT count(*) FROM messages_of_closed_accounts
        WHERE (recipient_id IS NULL AND channel_id IN (SELECT value FROM json_each(:channels)))
           OR user_id = :viewer OR recipient_id = :viewer) AS total;

-- name: messages_page_but_in
-- mirror: messages_page_after_but_in
-- The page of all messages, for a :viewer who may read all channels but :channels (a JSON array).
SELECT id, user_id, content, channel_id, recipient_id, created_at, updated_at, crc32, position
FROM messages INDEXED BY messages_newest
WHERE position < :bound AND (
    (recipient_id IS NULL AND channel_id NOT IN (SELECT value FROM json_each(:channels)))
    OR user_id = :viewer OR recipient_id = :viewer
)
  AND user_id NOT IN (SELECT user_id FROM closed_accounts)
  AND coalesce(recipient_id, user_id) NOT IN (SELECT user_id FROM closed_accounts)
ORDER BY position DESC
LIMIT :limit OFFSET :offset;

-- name: messages_count_but_in
-- How many there are: those of `messages_count`, without what others said in :channels.
SELECT (SELECT count(*) FROM messages WHERE recipient_id IS NULL)
     + (SELECT count(*) FROM messages WHERE recipient_id = :viewer)
     + (SELECT count(*) FROM messages WHERE user_id = :viewer AND recipient_id <> :viewer)
     - (SELECT count(*)
        FROM messages INDEXED BY messages_by_channel
        WHERE recipient_id IS NULL AND user_id <> :viewer
          AND channel_id IN (SELECT value FROM json_each(:channels)))
     - (SELECT count(*) FROM messages_of_closed_accounts
        WHERE (recipient_id IS NULL AND channel_id NOT IN (SELECT value FROM json_each(:channels)))
           OR user_id = :viewer OR recipient_id = :viewer) AS total;

-- name: messages_page_by_user_narrowed
-- mirror: messages_page_after_by_user_narrowed
-- The page of one author who is not :viewer, in :channels only, or in all but those where :only is false.
SELECT id, user_id, content, channel_id, recipient_id, created_at, updated_at, crc32, position
FROM messages INDEXED BY messages_by_user
WHERE user_id = :user_id AND position < :bound AND (
    (recipient_id IS NULL AND (channel_id IN (SELECT value FROM json_each(:channels))) = :only)
    OR recipient_id = :viewer
)
  AND user_id NOT IN (SELECT user_id FROM closed_accounts)
  AND coalesce(recipient_id, user_id) NOT IN (SELECT user_id FROM closed_accounts)
ORDER BY position DESC
LIMIT :limit OFFSET :offset;

-- name: messages_count_by_user_narrowed
-- How many there are of that author.
SELECT (SELECT count(*)
        FROM messages INDEXED BY messages_by_user_and_channel
        WHERE user_id = :user_id AND channel_id IS NOT NULL AND recipient_id IS NULL
          AND (channel_id IN (SELECT value FROM json_each(:channels))) = :only)
     + (SELECT count(*) FROM messages WHERE user_id = :user_id AND recipient_id = :viewer)
     - (SELECT count(*) FROM messages_of_closed_accounts
        WHERE user_id = :user_id AND (
            (recipient_id IS NULL AND (channel_id IN (SELECT value FROM json_each(:channels))) = :only)
            OR recipient_id = :viewer
        )) AS total;

-- name: messages_page_by_closed_channel
-- mirror: messages_page_after_by_closed_channel
-- The page of a channel that :viewer may not read: only those from and to :viewer, and of one author unless that is ''.
SELECT id, user_id, content, channel_id, recipient_id, created_at, updated_at, crc32, position
FROM messages
WHERE id IN (
    SELECT id FROM messages INDEXED BY messages_by_user_and_channel WHERE user_id = :viewer AND channel_id = :channel_id
    UNION ALL
    SELECT id FROM messages INDEXED BY messages_by_recipient WHERE recipient_id = :viewer AND channel_id = :channel_id
) AND (:user_id = '' OR user_id = :user_id) AND position < :bound
  AND user_id NOT IN (SELECT user_id FROM closed_accounts)
  AND coalesce(recipient_id, user_id) NOT IN (SELECT user_id FROM closed_accounts)
ORDER BY position DESC
LIMIT :limit OFFSET :offset;

-- name: messages_count_by_closed_channel
-- How many there are in it.
SELECT count(*) AS total
FROM messages
WHERE id IN (
    SELECT id FROM messages INDEXED BY messages_by_user_and_channel WHERE user_id = :viewer AND channel_id = :channel_id
    UNION ALL
    SELECT id FROM messages INDEXED BY messages_by_recipient WHERE recipient_id = :viewer AND channel_id = :channel_id
) AND (:user_id = '' OR user_id = :user_id)
  AND user_id NOT IN (SELECT user_id FROM closed_accounts)
  AND coalesce(recipient_id, user_id) NOT IN (SELECT user_id FROM closed_accounts);

-- name: messages_of_users_page_narrowed
-- mirror: messages_of_users_page_after_narrowed
-- As `messages_of_users_page`, in :channels only, or in all but those where :only is false.
SELECT message.id, message.user_id, message.content, message.channel_id, message.recipient_id,
       message.created_at, message.updated_at, message.crc32, message.position
FROM (SELECT DISTINCT value FROM json_each(:user_ids)) AS author
CROSS JOIN messages AS message ON message.id IN (
    SELECT id
    FROM messages INDEXED BY messages_by_user
    WHERE user_id = author.value AND position < :bound AND (
        (recipient_id IS NULL AND (channel_id IN (SELECT value FROM json_each(:channels))) = :only)
        OR user_id = :viewer OR recipient_id = :viewer
    )
      AND user_id NOT IN (SELECT user_id FROM closed_accounts)
      AND coalesce(recipient_id, user_id) NOT IN (SELECT user_id FROM closed_accounts)
    ORDER BY position DESC
    LIMIT :limit OFFSET :offset
)
ORDER BY message.user_id, message.position DESC;

-- name: messages_of_users_count_narrowed
-- How many there are of each; no row for those without any.  In channels and direct ones apart, for the sake of the indexes.
SELECT user_id, sum(part) AS total
FROM (
    SELECT user_id, count(*) AS part
    FROM messages INDEXED BY messages_by_user_and_channel
    WHERE user_id IN (SELECT value FROM json_each(:user_ids)) AND channel_id IS NOT NULL AND recipient_id IS NULL
      AND (user_id = :viewer OR (channel_id IN (SELECT value FROM json_each(:channels))) = :only)
      AND user_id NOT IN (SELECT user_id FROM closed_accounts)
    GROUP BY user_id
    UNION ALL
    SELECT user_id, count(*)
    FROM messages INDEXED BY messages_by_user
    WHERE user_id IN (SELECT value FROM json_each(:user_ids)) AND recipient_id IS NOT NULL
      AND (user_id = :viewer OR recipient_id = :viewer)
      AND user_id NOT IN (SELECT user_id FROM closed_accounts)
      AND coalesce(recipient_id, user_id) NOT IN (SELECT user_id FROM closed_accounts)
    GROUP BY user_id
)
GROUP BY user_id;

-- name: message_add
-- A message, whose event comes at :position; violates a constraint when its author or recipient does not exist, or is closed.
INSERT INTO messages (id, user_id, content, channel_id, recipient_id, created_at, updated_at, position, crc32)
VALUES (
    :id,
    CASE
        WHEN :user_id NOT IN (SELECT user_id FROM closed_accounts)
        AND coalesce(:recipient_id, :user_id) NOT IN (SELECT user_id FROM closed_accounts)
        THEN :user_id
    END,
    :content, :channel_id, :recipient_id, :at, :at, :position,
    row_crc32(:id, :user_id, :content, :channel_id, :recipient_id, :at, :at)
);

-- name: message_drop
-- Delete a message.
DELETE FROM messages WHERE id = :id;
