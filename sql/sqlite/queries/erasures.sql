-- What is still to be erased of the log after an account was changed, batch by batch (multiproto/log/eraser.py).

-- name: erasures_pending
-- What readers of the log must not be given: the address of a user in events about them up to a position, or, where
-- there is none, all about the user of a closed account and about messages from and to them.
SELECT user_id, position FROM outdated_emails UNION ALL SELECT user_id, NULL FROM closed_accounts;

-- name: outdated_emails_due
-- Some accounts in whose events an address is still to be erased.
SELECT user_id, position, erased_upto FROM outdated_emails ORDER BY user_id LIMIT :most;

-- name: email_outdated
-- A user's address changes: all events so far may have it, those of this transaction included.
INSERT INTO outdated_emails (user_id, position)
SELECT :id, coalesce(max(position), 0) FROM events WHERE true
ON CONFLICT (user_id) DO UPDATE SET position = excluded.position;

-- name: subject_batch_end
-- The position of the last of at most :most events about :subject after :after; none if there is none.
SELECT max(position) AS position
FROM (SELECT position FROM events WHERE subject = :subject AND position > :after ORDER BY position LIMIT :most) AS batch;

-- name: log_forget_email
-- Remove the mailbox address from events about the user :id; those that have none are not written again, nor are those
-- that are damaged: nobody is given them, and they must not look sound.
UPDATE events
SET content = json_remove(content, '$.user.email'),
    crc32 = row_crc32(
        position, id, type, topics, json_remove(content, '$.user.email'), subject, created_at, namespace, sender, metadata
    )
WHERE subject = :id AND position > :after AND position <= :upto AND content LIKE '%"email"%'
  AND (crc32 IS NULL OR crc32 = row_crc32(
      position, id, type, topics, content, subject, created_at, namespace, sender, metadata
  ));

-- name: outdated_email_advance
-- The address is erased up to :upto.
UPDATE outdated_emails SET erased_upto = :upto WHERE user_id = :id AND erased_upto < :upto;

-- name: outdated_email_drop
-- It is erased from all events that may have it, unless it has changed again since :position.
DELETE FROM outdated_emails WHERE user_id = :id AND position = :position;

-- name: closed_accounts_due
-- Some accounts that were closed, of which something is left.
SELECT user_id, erased_upto FROM closed_accounts ORDER BY user_id LIMIT :most;

-- name: messages_of_account
-- At most :most messages from or to a user.
SELECT id
FROM (SELECT id FROM messages WHERE user_id = :id UNION ALL SELECT id FROM messages WHERE recipient_id = :id) AS theirs
LIMIT :most;

-- name: log_blank_messages
-- Redact all events about the messages :ids (a JSON array).
UPDATE events
SET content = NULL, metadata = NULL,
    crc32 = row_crc32(position, id, type, topics, NULL, subject, created_at, namespace, sender, NULL)
WHERE subject IN (SELECT value FROM json_each(:ids));

-- name: messages_drop
-- Delete the messages :ids (a JSON array).
DELETE FROM messages WHERE id IN (SELECT value FROM json_each(:ids));

-- name: log_blank_about
-- Redact events about the user :id.
UPDATE events
SET content = NULL, metadata = NULL,
    crc32 = row_crc32(position, id, type, topics, NULL, subject, created_at, namespace, sender, NULL)
WHERE subject = :id AND position > :after AND position <= :upto;

-- name: closed_account_advance
-- The events about the user are redacted up to :upto.
UPDATE closed_accounts SET erased_upto = :upto WHERE user_id = :id AND erased_upto < :upto;

-- name: account_keys_due
-- One row, whose position is meaningless, if any key of the user is left.
SELECT 1 AS position FROM keys WHERE user_id = :id LIMIT 1;

-- name: account_keys_drop
-- Delete at most :most keys of the user.
DELETE FROM keys
WHERE user_id = :id AND key IN (SELECT key FROM keys WHERE user_id = :id LIMIT :most);

-- name: account_refresh_tokens_due
-- One row, whose position is meaningless, if any refresh token of the user is left.
SELECT 1 AS position
FROM sessions JOIN refresh_tokens AS token ON token.session_id = sessions.id
WHERE sessions.user_id = :id
LIMIT 1;

-- name: account_refresh_tokens_drop
-- Delete at most :most refresh tokens of the user.
DELETE FROM refresh_tokens
WHERE hash IN (
    SELECT token.hash
    FROM sessions JOIN refresh_tokens AS token ON token.session_id = sessions.id
    WHERE sessions.user_id = :id
    LIMIT :most
);

-- name: account_sessions_due
-- One row, whose position is meaningless, if any session of the user is left.
SELECT 1 AS position FROM sessions WHERE user_id = :id LIMIT 1;

-- name: account_sessions_drop
-- Delete at most :most sessions of the user, which have no refresh tokens any more.
DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE user_id = :id LIMIT :most);
