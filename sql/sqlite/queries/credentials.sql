-- Credentials of devices and services.

-- name: credential_by_id
-- One credential, with the hash of its secret.
SELECT id, user_id, name, hash, grants, expires_at FROM credentials WHERE id = :id;

-- name: credentials_of_user
-- All credentials of a user, newest first; some may have expired.
SELECT id, name, grants, created_at, expires_at, last_used_at, last_used_from
FROM credentials
WHERE user_id = :user_id
ORDER BY created_at DESC, id DESC;

-- name: credential_add
-- A new credential; no row if its user is deleted or has :most already; violates a constraint when the name is in use.
INSERT INTO credentials (id, user_id, name, hash, grants, created_at, expires_at)
SELECT :id, users.id, :name, :hash, :grants, :at, :expires_at
FROM users
WHERE users.id = :user_id AND (SELECT count(*) FROM credentials WHERE user_id = :user_id) < :most;

-- name: credentials_drop_expired
-- Delete the credentials of a user that have expired at :now.
DELETE FROM credentials WHERE user_id = :user_id AND expires_at <= :now;

-- name: credential_drop
-- Delete a credential of a user.
DELETE FROM credentials WHERE id = :id AND user_id = :user_id;

-- name: credentials_drop
-- Delete those of a user that are among :ids (a JSON array).
DELETE FROM credentials WHERE user_id = :user_id AND id IN (SELECT value FROM json_each(:ids));

-- name: credentials_drop_all
-- Delete all credentials of a user.
DELETE FROM credentials WHERE user_id = :user_id;

-- name: credential_used
-- Record a use; no row if the credential is deleted, or another instance recorded a later use.
UPDATE credentials
SET last_used_at = :at, last_used_from = :host
WHERE id = :id AND (last_used_at IS NULL OR last_used_at < :at);
