-- Where the owners of accounts have logged in from.

-- name: network_known
-- One row if somebody logged in to the account with this address from :network after :since.
SELECT known.user_id
FROM users AS owner
JOIN known_networks AS known ON known.user_id = owner.id
WHERE owner.email_key >= :email_key AND owner.email_key < :email_key || '!' AND known.network = :network AND known.seen_at > :since;

-- name: network_seen
-- A user logged in or refreshed from :network.
INSERT INTO known_networks (user_id, network, seen_at)
SELECT id, :network, :at FROM users WHERE id = :user_id
ON CONFLICT (user_id, network) DO UPDATE SET seen_at = excluded.seen_at
WHERE known_networks.seen_at < excluded.seen_at;

-- name: networks_forget
-- Keep the :most networks of a user that were seen last.
DELETE FROM known_networks
WHERE user_id = :user_id AND network IN (
    SELECT network FROM known_networks WHERE user_id = :user_id ORDER BY seen_at DESC, network LIMIT -1 OFFSET :most
);

-- name: known_networks_due
-- When the oldest network was last seen that is older than :before; no row if there is none.
SELECT seen_at AS at FROM known_networks WHERE seen_at < :before ORDER BY seen_at LIMIT 1;

-- name: known_networks_prune
-- Delete at most :most that were last seen before :before, the oldest first.
DELETE FROM known_networks
WHERE (user_id, network) IN (
    SELECT user_id, network FROM known_networks WHERE seen_at < :before ORDER BY seen_at LIMIT :most
);
