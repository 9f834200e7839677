-- Where the owners of accounts have logged in from: there, others' wrong passwords do not keep them out.

CREATE TABLE known_networks (
    user_id text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    network text COLLATE "C" NOT NULL,
    seen_at timestamptz(3) NOT NULL,
    PRIMARY KEY (user_id, network)
);

CREATE INDEX known_networks_by_age ON known_networks (seen_at);

COMMENT ON TABLE known_networks IS 'Where the owners of accounts have logged in from';
COMMENT ON COLUMN known_networks.user_id IS 'who logged in';
COMMENT ON COLUMN known_networks.network IS 'from where: an IPv4 address, or a /64 of IPv6';
COMMENT ON COLUMN known_networks.seen_at IS 'when last, by a login or a refresh';

-- An address of IPv4 is its network; those who are at IPv6 log in once more.
INSERT INTO known_networks (user_id, network, seen_at)
SELECT user_id, address, max(coalesce(used_at, created_at))
FROM sessions
WHERE address IS NOT NULL AND address NOT LIKE '%:%'
GROUP BY user_id, address;
