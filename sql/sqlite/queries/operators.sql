-- Who may read the whole audit log.

-- name: operator_by_id
-- The account :id, if a command made it an operator.
SELECT user_id FROM operators WHERE user_id = :id;

-- name: operators_all
-- All that a command made operators, with their addresses, the first first.
SELECT operators.user_id, users.email, operators.granted_at
FROM operators JOIN users ON users.id = operators.user_id
ORDER BY operators.granted_at, operators.user_id;

-- name: operator_add
-- Make an account an operator; no row if it is one.
INSERT INTO operators (user_id, granted_at) VALUES (:id, :at) ON CONFLICT DO NOTHING;

-- name: operator_drop
-- It is one no longer; no row if it was none.
DELETE FROM operators WHERE user_id = :id;

-- name: operator_addresses_of
-- Those of :email_keys (a JSON array) that were resolved, with whose they were: none for nobody's.
SELECT email_key, user_id FROM operator_addresses WHERE email_key IN (SELECT value FROM json_each(:email_keys));

-- name: operator_address_resolve
-- Remember for good whose an address is; no row if that was done before.
INSERT INTO operator_addresses (email_key, user_id, resolved_at)
VALUES (:email_key, :user_id, :at)
ON CONFLICT DO NOTHING;

-- name: operator_addresses_not_ascii
-- The keys that are not in ASCII, in the order in which they were resolved.
SELECT email_key
FROM operator_addresses
WHERE length(CAST(email_key AS BLOB)) <> length(email_key)
ORDER BY resolved_at, email_key;

-- name: operator_address_amend
-- An address gets another key.
UPDATE operator_addresses SET email_key = :new_key WHERE email_key = :email_key;

-- name: operator_address_drop
-- An address that was resolved in another spelling.
DELETE FROM operator_addresses WHERE email_key = :email_key;
