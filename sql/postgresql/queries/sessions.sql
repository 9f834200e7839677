-- name: session_live
-- One row if the session is valid at :now; its user exists, since sessions are deleted with their user.
SELECT id, user_id, created_at, expires_at
FROM sessions
WHERE id = :id AND user_id = :user_id AND revoked_at IS NULL AND expires_at > :now;

-- name: session_began
-- When a session of the user began, whether or not it has ended.
SELECT created_at FROM sessions WHERE id = :id AND user_id = :user_id;

-- name: refresh_by_hash
-- A refresh token with its session and user.
SELECT token.hash, token.session_id, token.parent, token.spent_at,
       session.user_id, session.expires_at, session.revoked_at, owner.email
FROM refresh_tokens AS token
JOIN sessions AS session ON session.id = token.session_id
JOIN users AS owner ON owner.id = session.user_id
WHERE token.hash = :hash;

-- name: session_add
-- A login.  No row when the password is not :password_hash any more, or the user has :most sessions.
-- The lock is for other instances: one that changes the password waits, and then sees this session.
INSERT INTO sessions (id, user_id, created_at, expires_at, address, client)
SELECT :id, :user_id, :at::timestamptz, :expires_at::timestamptz, :address, :client
WHERE EXISTS (SELECT 1 FROM users WHERE id = :user_id AND password_hash = :password_hash FOR SHARE)
  AND :most > (
    SELECT count(*) FROM sessions WHERE user_id = :user_id AND revoked_at IS NULL AND expires_at > :now
  );

-- name: session_hold
-- Nothing is changed; no row if the session of the user has ended.
-- The locks are for other instances: one that ends the session waits, and then sees what was done by it.  That of the
-- user comes first, as where an account is closed.
UPDATE sessions SET revoked_at = revoked_at
WHERE id = :id AND user_id = :user_id AND revoked_at IS NULL AND expires_at > :now
  AND EXISTS (SELECT 1 FROM users WHERE id = :user_id FOR KEY SHARE);

-- name: session_used
-- A session was refreshed; no row if it has ended.
UPDATE sessions SET used_at = :at, address = :address, client = :client
WHERE id = :id AND revoked_at IS NULL AND expires_at > :now;

-- name: sessions_open
-- A user's sessions that have not ended at :now, newest first.
SELECT id, created_at, coalesce(used_at, created_at) AS used_at, expires_at, address, client
FROM sessions
WHERE user_id = :user_id AND revoked_at IS NULL AND expires_at > :now
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- name: session_revoke
-- End a session, once.
UPDATE sessions SET revoked_at = :at WHERE id = :id AND revoked_at IS NULL;

-- name: session_revoke_own
-- End a session of one user; no row if it is not theirs, or has ended.
UPDATE sessions SET revoked_at = :at
WHERE id = :id AND user_id = :user_id AND revoked_at IS NULL AND expires_at > :now;

-- name: sessions_revoke
-- End those sessions among :ids (a JSON array) that have not ended.
UPDATE sessions SET revoked_at = :at
WHERE id = ANY (ARRAY(SELECT json_array_elements_text(:ids::json))) AND revoked_at IS NULL;

-- name: sessions_revoke_others
-- End every session of a user but :keep ('' keeps none).
UPDATE sessions SET revoked_at = :at
WHERE user_id = :user_id AND id <> :keep AND revoked_at IS NULL AND expires_at > :now;

-- name: sessions_due
-- When the oldest session that ended before :before did; no row if there is none.
SELECT coalesce(revoked_at, expires_at) AS at
FROM sessions
WHERE coalesce(revoked_at, expires_at) < :before
ORDER BY coalesce(revoked_at, expires_at)
LIMIT 1;

-- name: sessions_prune
-- Delete at most :most sessions that ended before :before, the oldest first.
DELETE FROM sessions
WHERE id IN (
    SELECT id FROM sessions
    WHERE coalesce(revoked_at, expires_at) < :before
    ORDER BY coalesce(revoked_at, expires_at)
    LIMIT :most
);

-- name: refresh_add
-- A refresh token was issued, for another one or for a login.  No row when its :parent is spent.
INSERT INTO refresh_tokens (hash, session_id, parent, created_at)
SELECT :hash, :session_id, :parent::text, :at::timestamptz
WHERE :parent::text IS NULL OR EXISTS (SELECT 1 FROM refresh_tokens WHERE hash = :parent AND spent_at IS NULL);

-- name: refresh_spend
-- Mark a refresh token as used; no row if it was used already.
UPDATE refresh_tokens SET spent_at = :at WHERE hash = :hash AND spent_at IS NULL;

-- name: refresh_spend_others
-- :hash is used: mark all other tokens with its :parent as used.
UPDATE refresh_tokens SET spent_at = :at WHERE parent = :parent AND hash <> :hash AND spent_at IS NULL;

-- name: refresh_tokens_due
-- When the oldest session that ended before :before and has tokens did; no row if there is none.
SELECT coalesce(session.revoked_at, session.expires_at) AS at
FROM sessions AS session
JOIN refresh_tokens AS token ON token.session_id = session.id
WHERE coalesce(session.revoked_at, session.expires_at) < :before
ORDER BY coalesce(session.revoked_at, session.expires_at)
LIMIT 1;

-- name: refresh_tokens_prune
-- Delete at most :most of those whose sessions ended before :before.
-- A session may have hundreds, so they are not left to be deleted with it.
DELETE FROM refresh_tokens
WHERE hash IN (
    SELECT token.hash
    FROM sessions AS session
    JOIN refresh_tokens AS token ON token.session_id = session.id
    WHERE coalesce(session.revoked_at, session.expires_at) < :before
    LIMIT :most
);
