-- What devices and services prove themselves with, for as long as their user lets them.

CREATE TABLE credentials (
    id             TEXT NOT NULL PRIMARY KEY, -- UUID, lower case; part of the secret
    user_id        TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, -- who made it, and answers for it
    name           TEXT NOT NULL, -- of the device: one word of a topic
    hash           TEXT NOT NULL, -- SHA-256 of the secret, which itself is nowhere kept
    grants         TEXT NOT NULL, -- all that it may do: for each grant a line of verbs, a space and a pattern
    created_at     TEXT NOT NULL, -- when it was made
    expires_at     TEXT,          -- from when on it is worth nothing; none: never
    last_used_at   TEXT,          -- when somebody came with it, to the minute; none: not yet
    last_used_from TEXT           -- the address that they came from
) STRICT;

CREATE UNIQUE INDEX credentials_by_user ON credentials (user_id, name);
