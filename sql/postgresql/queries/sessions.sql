-- name: session_live
-- One row if the session can be acted in at :now; its user exists, or it would be gone with them.
SELECT id, user_id, created_at, expires_at
FROM sessions
WHERE id = :id AND user_id = :user_id AND revoked_at IS NULL AND expires_at > :now;

-- name: refresh_by_hash
-- A refresh token with what its session and its owner say of it.
SELECT token.hash, token.session_id, token.parent, token.spent_at,
       session.user_id, session.expires_at, session.revoked_at, owner.email
FROM refresh_tokens AS token
JOIN sessions AS session ON session.id = token.session_id
JOIN users AS owner ON owner.id = session.user_id
WHERE token.hash = :hash;

-- name: session_add
-- Somebody logged in; violates a constraint when the user is gone.
INSERT INTO sessions (id, user_id, created_at, expires_at) VALUES (:id, :user_id, :at, :expires_at);

-- name: session_revoke
-- End a session, once.
UPDATE sessions SET revoked_at = :at WHERE id = :id AND revoked_at IS NULL;

-- name: sessions_revoke_others
-- End every session of a user but :keep ('' keeps none).
UPDATE sessions SET revoked_at = :at WHERE user_id = :user_id AND id <> :keep AND revoked_at IS NULL;

-- name: refresh_add
-- A refresh token was handed out.
INSERT INTO refresh_tokens (hash, session_id, parent, created_at) VALUES (:hash, :session_id, :parent, :at);

-- name: refresh_spend
-- A refresh token is used up, once.
UPDATE refresh_tokens SET spent_at = :at WHERE hash = :hash AND spent_at IS NULL;

-- name: refresh_spend_others
-- :hash is used: what else was made from its :parent is used up, once.
UPDATE refresh_tokens SET spent_at = :at WHERE parent = :parent AND hash <> :hash AND spent_at IS NULL;
