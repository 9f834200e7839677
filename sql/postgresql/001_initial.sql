-- What the shared store keeps: accounts, messages, sessions, and the log of what happened.
-- Ids are opaque text; all text is compared byte by byte, as the embedded store does.  Times have milliseconds.

CREATE TABLE users (
    id            text COLLATE "C" PRIMARY KEY,
    email         text COLLATE "C" NOT NULL,
    email_key     text COLLATE "C" NOT NULL UNIQUE,
    name          text COLLATE "C" NOT NULL,
    password_hash text COLLATE "C" NOT NULL,
    version       bigint NOT NULL DEFAULT 1,
    created_at    timestamptz(3) NOT NULL,
    updated_at    timestamptz(3) NOT NULL
);

CREATE INDEX users_newest ON users (created_at, id);

COMMENT ON TABLE users IS 'Accounts';
COMMENT ON COLUMN users.id IS 'UUID, lower case';
COMMENT ON COLUMN users.email IS 'as its owner wrote it';
COMMENT ON COLUMN users.email_key IS 'the same without regard to case: one account each';
COMMENT ON COLUMN users.name IS 'shown to others';
COMMENT ON COLUMN users.password_hash IS 'bcrypt';
COMMENT ON COLUMN users.version IS 'grows by one with each change of the row';
COMMENT ON COLUMN users.created_at IS 'when it was registered';
COMMENT ON COLUMN users.updated_at IS 'when the row last changed';

CREATE TABLE messages (
    id           text COLLATE "C" PRIMARY KEY,
    user_id      text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    content      text COLLATE "C" NOT NULL,
    channel_id   text COLLATE "C",
    recipient_id text COLLATE "C" REFERENCES users (id) ON DELETE CASCADE,
    created_at   timestamptz(3) NOT NULL,
    updated_at   timestamptz(3) NOT NULL
);

-- Each list has its order from an index; the last columns let the index alone judge who may see a row.
CREATE INDEX messages_newest ON messages (created_at, id, user_id, recipient_id);
CREATE INDEX messages_by_user ON messages (user_id, created_at, id, recipient_id);
CREATE INDEX messages_by_channel ON messages (channel_id, created_at, id, user_id, recipient_id)
    WHERE channel_id IS NOT NULL;
CREATE INDEX messages_by_user_and_channel ON messages (user_id, channel_id, created_at, id, recipient_id)
    WHERE channel_id IS NOT NULL;
CREATE INDEX messages_by_recipient ON messages (recipient_id, created_at, id, user_id);

COMMENT ON TABLE messages IS 'What users said';
COMMENT ON COLUMN messages.id IS 'UUID, lower case';
COMMENT ON COLUMN messages.user_id IS 'its author';
COMMENT ON COLUMN messages.content IS 'what was said';
COMMENT ON COLUMN messages.channel_id IS 'the channel it was said in, if any';
COMMENT ON COLUMN messages.recipient_id IS 'makes it direct: only the two may see it';
COMMENT ON COLUMN messages.created_at IS 'when it was sent';
COMMENT ON COLUMN messages.updated_at IS 'when the row last changed';

CREATE TABLE sessions (
    id         text COLLATE "C" PRIMARY KEY,
    user_id    text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz(3) NOT NULL,
    expires_at timestamptz(3) NOT NULL,
    revoked_at timestamptz(3)
);

CREATE INDEX sessions_by_user ON sessions (user_id);

COMMENT ON TABLE sessions IS 'Logins that are alive until they expire or are revoked';
COMMENT ON COLUMN sessions.id IS 'UUID, the sid of its access tokens';
COMMENT ON COLUMN sessions.user_id IS 'who logged in';
COMMENT ON COLUMN sessions.created_at IS 'when';
COMMENT ON COLUMN sessions.expires_at IS 'from when on it cannot be refreshed';
COMMENT ON COLUMN sessions.revoked_at IS 'when it was ended before its time, if it was';

CREATE TABLE refresh_tokens (
    hash       text COLLATE "C" PRIMARY KEY,
    session_id text COLLATE "C" NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    parent     text COLLATE "C" REFERENCES refresh_tokens (hash) ON DELETE SET NULL,
    created_at timestamptz(3) NOT NULL,
    spent_at   timestamptz(3)
);

CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_by_parent ON refresh_tokens (parent);

COMMENT ON TABLE refresh_tokens IS 'What prolongs a session; a used one that is used again is theft';
COMMENT ON COLUMN refresh_tokens.hash IS 'SHA-256 of the token, which itself is nowhere kept';
COMMENT ON COLUMN refresh_tokens.session_id IS 'the session it prolongs';
COMMENT ON COLUMN refresh_tokens.parent IS 'the token it was made from, if any';
COMMENT ON COLUMN refresh_tokens.created_at IS 'when it was handed out';
COMMENT ON COLUMN refresh_tokens.spent_at IS 'when its successor was first used';

CREATE TABLE events (
    position   bigint PRIMARY KEY,
    id         text COLLATE "C" NOT NULL UNIQUE,
    type       text COLLATE "C" NOT NULL,
    topics     text COLLATE "C" NOT NULL,
    content    text COLLATE "C",
    subject    text COLLATE "C" NOT NULL,
    created_at timestamptz(3) NOT NULL,
    namespace  text COLLATE "C" NOT NULL,
    sender     text COLLATE "C",
    metadata   text COLLATE "C"
);

CREATE INDEX events_by_subject ON events (subject);
CREATE INDEX events_by_namespace ON events (namespace, position);
CREATE INDEX events_by_age ON events (namespace, created_at, position);

COMMENT ON TABLE events IS 'The log: what happened, in the order it was committed';
COMMENT ON COLUMN events.position IS 'in commit order from 1; dense until some are pruned';
COMMENT ON COLUMN events.id IS 'UUID, by which a lost answer can be looked up';
COMMENT ON COLUMN events.type IS 'what happened, e.g. message.sent';
COMMENT ON COLUMN events.topics IS 'JSON array of all topics that hear of it, in order';
COMMENT ON COLUMN events.content IS 'JSON they see, as text, for jsonb refuses \u0000; none once it is blanked';
COMMENT ON COLUMN events.subject IS 'id of what it tells of, by which it is blanked';
COMMENT ON COLUMN events.created_at IS 'when it happened';
COMMENT ON COLUMN events.namespace IS 'decides how long it is kept';
COMMENT ON COLUMN events.sender IS 'id of the user who published it, if it was a client';
COMMENT ON COLUMN events.metadata IS 'JSON object that a client published with it, if any';

CREATE TABLE head (
    one      integer PRIMARY KEY CHECK (one = 1),
    position bigint NOT NULL
);

INSERT INTO head (one, position) VALUES (1, 0);

COMMENT ON TABLE head IS 'The end of the log; whoever writes holds its one row locked until they have committed';
COMMENT ON COLUMN head.one IS 'there is one row';
COMMENT ON COLUMN head.position IS 'of the newest event ever; 0 for none';

CREATE TABLE terms (
    number         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             text COLLATE "C" NOT NULL UNIQUE,
    first_position bigint NOT NULL,
    created_at     timestamptz(3) NOT NULL
);

COMMENT ON TABLE terms IS 'Times of writing, by which a log restored from a backup gives no cursor a second meaning';
COMMENT ON COLUMN terms.number IS 'in the order they began';
COMMENT ON COLUMN terms.id IS 'random, part of every cursor made in this term';
COMMENT ON COLUMN terms.first_position IS 'the first position that may be written in it';
COMMENT ON COLUMN terms.created_at IS 'when a writer began it';

CREATE TABLE floors (
    namespace text COLLATE "C" PRIMARY KEY,
    position  bigint NOT NULL
);

COMMENT ON TABLE floors IS 'From where on a namespace of the log has no holes';
COMMENT ON COLUMN floors.namespace IS 'one that is kept now';
COMMENT ON COLUMN floors.position IS 'up to this one, its events may be missing';

CREATE TABLE keys (
    user_id     text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key         text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    event_id    text COLLATE "C" NOT NULL,
    answer      text COLLATE "C",
    created_at  timestamptz(3) NOT NULL,
    PRIMARY KEY (user_id, key)
);

CREATE INDEX keys_oldest ON keys (created_at);

COMMENT ON TABLE keys IS 'Idempotency keys, claimed in the transaction of what they are for';
COMMENT ON COLUMN keys.user_id IS 'who sent something under the key';
COMMENT ON COLUMN keys.key IS 'as they chose it';
COMMENT ON COLUMN keys.fingerprint IS 'of what was sent, to tell a repetition from a reuse';
COMMENT ON COLUMN keys.event_id IS 'of the event that came of it';
COMMENT ON COLUMN keys.answer IS 'JSON of what was answered, if the event does not say it all';
COMMENT ON COLUMN keys.created_at IS 'when it was first sent';

-- Made by the statement `migrations_begin`, before any migration.
COMMENT ON TABLE migrations IS 'Which migrations this database has had';
COMMENT ON COLUMN migrations.number IS 'its place in the order, from 1';
COMMENT ON COLUMN migrations.name IS 'its file';
COMMENT ON COLUMN migrations.checksum IS 'SHA-256 of that file, in hexadecimal';
COMMENT ON COLUMN migrations.applied_at IS 'when this database had it';

-- The server's own statements set `updated_at` (and the version); these cover a change by any other hand.
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    new.updated_at := now();
    RETURN new;
END
$$;

CREATE FUNCTION touched_with_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    new.updated_at := now();
    new.version := old.version + 1;
    RETURN new;
END
$$;

CREATE TRIGGER users_touched BEFORE UPDATE ON users FOR EACH ROW
    WHEN (new.updated_at = old.updated_at AND new.version = old.version)
    EXECUTE FUNCTION touched_with_version();

CREATE TRIGGER messages_touched BEFORE UPDATE ON messages FOR EACH ROW
    WHEN (new.updated_at = old.updated_at)
    EXECUTE FUNCTION touched();
