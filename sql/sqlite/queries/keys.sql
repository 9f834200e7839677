-- Idempotency keys of users, so that a repeated request has no second effect.

-- name: key_of
-- What was sent with a key, and when: the time of its event, of which the key's own may differ while a clock is wrong.
SELECT keys.fingerprint, keys.event_id, keys.answer, coalesce(events.created_at, keys.created_at) AS created_at
FROM keys LEFT JOIN events ON events.id = keys.event_id
WHERE keys.user_id = :user_id AND keys.key = :key;

-- name: key_claim
-- One row if the key was unused, or last claimed before :expired; violates a constraint when the user is deleted.
INSERT INTO keys (user_id, key, fingerprint, event_id, answer, created_at)
VALUES (:user_id, :key, :fingerprint, :event_id, :answer, :at)
ON CONFLICT (user_id, key) DO UPDATE
SET fingerprint = excluded.fingerprint, event_id = excluded.event_id, answer = excluded.answer,
    created_at = excluded.created_at
WHERE created_at < :expired;

-- name: keys_due
-- When the oldest key was claimed that is older than :before; no row if there is none.
SELECT created_at AS at FROM keys WHERE created_at < :before ORDER BY created_at LIMIT 1;

-- name: keys_prune
-- Delete at most :most keys that were claimed before :before, the oldest first.
DELETE FROM keys
WHERE (user_id, key) IN (
    SELECT user_id, key FROM keys WHERE created_at < :before ORDER BY created_at LIMIT :most
);
