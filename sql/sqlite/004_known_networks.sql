-- Where the owners of accounts have logged in from: there, others' wrong passwords do not keep them out.

CREATE TABLE known_networks (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, -- who logged in
    network TEXT NOT NULL, -- from where: an IPv4 address, or a /64 of IPv6
    seen_at TEXT NOT NULL, -- when last, by a login or a refresh
    PRIMARY KEY (user_id, network)
) STRICT;

CREATE INDEX known_networks_by_age ON known_networks (seen_at);

-- An address of IPv4 is its network; those who are at IPv6 log in once more.
INSERT INTO known_networks (user_id, network, seen_at)
SELECT user_id, address, max(coalesce(used_at, created_at))
FROM sessions
WHERE address IS NOT NULL AND address NOT LIKE '%:%'
GROUP BY user_id, address;
