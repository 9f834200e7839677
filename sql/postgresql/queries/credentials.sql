-- Credentials of devices and services.

-- name: credential_by_id
-- One credential, with what its secret is compared with.
SELECT id, user_id, name, hash, grants, expires_at FROM credentials WHERE id = :id;

-- name: credentials_of_user
-- All of a user that are kept, newest first; some may have expired.
SELECT id, name, grants, created_at, expires_at, last_used_at, last_used_from
FROM credentials
WHERE user_id = :user_id
ORDER BY created_at DESC, id DESC;

-- name: credential_add
-- A new one, unless its user is gone or has :most already; violates a constraint when the name is taken.
INSERT INTO credentials (id, user_id, name, hash, grants, created_at, expires_at)
SELECT :id, users.id, :name, :hash, :grants, :at::timestamptz, :expires_at::timestamptz
FROM users
WHERE users.id = :user_id AND (SELECT count(*) FROM credentials WHERE user_id = :user_id) < :most;

-- name: credentials_drop_expired
-- Delete those of a user that are worth nothing at :now.
DELETE FROM credentials WHERE user_id = :user_id AND expires_at <= :now;

-- name: credential_drop
-- Delete one of a user's own.
DELETE FROM credentials WHERE id = :id AND user_id = :user_id;

-- name: credential_used
-- Somebody came with it; no row where it is gone, or another instance has seen it later.
UPDATE credentials
SET last_used_at = :at, last_used_from = :host
WHERE id = :id AND (last_used_at IS NULL OR last_used_at < :at);
