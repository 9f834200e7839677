-- What devices and services prove themselves with, for as long as their user lets them.

CREATE TABLE credentials (
    id             text COLLATE "C" PRIMARY KEY,
    user_id        text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name           text COLLATE "C" NOT NULL,
    hash           text COLLATE "C" NOT NULL,
    grants         text COLLATE "C" NOT NULL,
    created_at     timestamptz(3) NOT NULL,
    expires_at     timestamptz(3),
    last_used_at   timestamptz(3),
    last_used_from text COLLATE "C"
);

CREATE UNIQUE INDEX credentials_by_user ON credentials (user_id, name);

COMMENT ON TABLE credentials IS 'What devices and services prove themselves with';
COMMENT ON COLUMN credentials.id IS 'UUID, lower case; part of the secret';
COMMENT ON COLUMN credentials.user_id IS 'who made it, and answers for it';
COMMENT ON COLUMN credentials.name IS 'of the device: one word of a topic';
COMMENT ON COLUMN credentials.hash IS 'SHA-256 of the secret, which itself is nowhere kept';
COMMENT ON COLUMN credentials.grants IS 'all that it may do: for each grant a line of verbs, a space and a pattern';
COMMENT ON COLUMN credentials.created_at IS 'when it was made';
COMMENT ON COLUMN credentials.expires_at IS 'from when on it is worth nothing; none: never';
COMMENT ON COLUMN credentials.last_used_at IS 'when somebody came with it, to the minute; none: not yet';
COMMENT ON COLUMN credentials.last_used_from IS 'the address that they came from';
