-- An account that was closed is in no list and is not found, also where its row is still to be deleted.

-- name: user_by_id
-- One user with all columns.
SELECT id, email, name, created_at, updated_at, email_key, password_hash, version
FROM users
WHERE id = :id AND id NOT IN (SELECT user_id FROM closed_accounts);

-- name: user_by_email
-- One user with all columns, by the address in any spelling; first the one that has this spelling alone.
SELECT id, email, name, created_at, updated_at, email_key, password_hash, version
FROM users
WHERE email_key IN (:email_key, :shared_key)
ORDER BY email_key DESC
LIMIT 1;

-- name: email_owners
-- The accounts with an address, in any spelling: the keys of those that share it continue with a space.
SELECT id
FROM users
WHERE email_key >= :email_key AND email_key < :email_key || '!';

-- name: users_by_ids
-- Those of :ids (a JSON array) that exist, with public columns, in no order.
SELECT id, email, name, created_at, updated_at
FROM users
WHERE id = ANY (ARRAY(SELECT json_array_elements_text(:ids::json)))
  AND id NOT IN (SELECT user_id FROM closed_accounts);

-- name: users_page
-- mirror: users_page_after
-- At most :limit users before the position :bound, newest first, behind the first :offset ones, with public columns.
SELECT id, email, name, created_at, updated_at, position
FROM users
WHERE position < :bound AND id NOT IN (SELECT user_id FROM closed_accounts)
ORDER BY position DESC
LIMIT :limit OFFSET :offset;

-- name: users_count
-- How many users there are.
SELECT (SELECT count(*) FROM users) - (SELECT count(*) FROM closed_accounts) AS total;

-- name: user_add
-- A new account, whose event comes at :position; violates a constraint when the email address is in use.
INSERT INTO users (id, email, email_key, name, password_hash, created_at, updated_at, position)
VALUES (:id, :email, :email_key, :name, :password_hash, :at, :at, :position);

-- name: user_amend
-- Change a user; no row if it was changed since :version was read.
UPDATE users
SET email = :email, email_key = :email_key, name = :name, password_hash = :password_hash,
    version = version + 1, updated_at = :at
WHERE id = :id AND version = :version;

-- name: account_close
-- Take everything personal from the row of an account that is closed; no row if it was closed before.
-- The address is free again: an id is none.  No password has the hash ''.
UPDATE users
SET email = '', email_key = id, name = '', password_hash = '', version = version + 1, updated_at = :at
WHERE id = :id AND id NOT IN (SELECT user_id FROM closed_accounts);

-- name: closed_account_add
-- The messages and events of an account that is closed are to be erased; no reader is given them from now on.
INSERT INTO closed_accounts (user_id) VALUES (:id);

-- name: user_drop
-- Delete a user, with all that is left of them.
DELETE FROM users WHERE id = :id;

-- name: users_not_ascii
-- Those whose address is not in ASCII, the oldest first.
SELECT id, email, email_key, position
FROM users
WHERE octet_length(email) <> length(email)
ORDER BY position;

-- name: email_key_owner
-- The account that is found by a key, if there is one.
SELECT id, email, position FROM users WHERE email_key = :email_key;

-- name: email_key_amend
-- An address that stays as it is gets another key.
UPDATE users
SET email_key = :email_key, version = version + 1
WHERE id = :id;
