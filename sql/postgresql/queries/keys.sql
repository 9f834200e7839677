-- Keys under which users send things, so that a repetition has no second effect.

-- name: key_of
-- What was sent under a key.
SELECT fingerprint, event_id, answer, created_at FROM keys WHERE user_id = :user_id AND key = :key;

-- name: key_claim
-- One row if the key was free, or last claimed before :expired; violates a constraint when the user is gone.
INSERT INTO keys (user_id, key, fingerprint, event_id, answer, created_at)
VALUES (:user_id, :key, :fingerprint, :event_id, :answer, :at)
ON CONFLICT (user_id, key) DO UPDATE
SET fingerprint = excluded.fingerprint, event_id = excluded.event_id, answer = excluded.answer,
    created_at = excluded.created_at
WHERE keys.created_at < :expired;

-- name: keys_due
-- One row, with a position that says nothing, if any key is older than :before.
SELECT 1 AS position FROM keys WHERE created_at < :before LIMIT 1;

-- name: keys_prune
-- Delete the oldest, at most :most, of those claimed before :before.
DELETE FROM keys
WHERE (user_id, key) IN (
    SELECT user_id, key FROM keys WHERE created_at < :before ORDER BY created_at LIMIT :most
);
