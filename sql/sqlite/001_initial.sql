-- What the embedded store keeps: accounts, messages, sessions, and the log of what happened.
-- Times are RFC 3339 in UTC with milliseconds, so that their text sorts as they do.

CREATE TABLE users (
    id            TEXT    NOT NULL PRIMARY KEY, -- UUID, lower case
    email         TEXT    NOT NULL,             -- as its owner wrote it
    email_key     TEXT    NOT NULL UNIQUE,      -- the same without regard to case: one account each
    name          TEXT    NOT NULL,             -- shown to others
    password_hash TEXT    NOT NULL,             -- bcrypt
    version       INTEGER NOT NULL DEFAULT 1,   -- grows by one with each change of the row
    created_at    TEXT    NOT NULL,             -- when it was registered
    updated_at    TEXT    NOT NULL              -- when the row last changed
) STRICT;

CREATE INDEX users_newest ON users (created_at, id);

CREATE TABLE messages (
    id           TEXT NOT NULL PRIMARY KEY, -- UUID, lower case
    user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, -- its author
    content      TEXT NOT NULL,             -- what was said
    channel_id   TEXT,                      -- the channel it was said in, if any
    recipient_id TEXT REFERENCES users (id) ON DELETE CASCADE, -- makes it direct: only the two may see it
    created_at   TEXT NOT NULL,             -- when it was sent
    updated_at   TEXT NOT NULL              -- when the row last changed
) STRICT;

-- Each list has its order from an index; the last columns let the index alone judge who may see a row.
CREATE INDEX messages_newest ON messages (created_at, id, user_id, recipient_id);
CREATE INDEX messages_by_user ON messages (user_id, created_at, id, recipient_id);
CREATE INDEX messages_by_channel ON messages (channel_id, created_at, id, user_id, recipient_id)
    WHERE channel_id IS NOT NULL;
CREATE INDEX messages_by_user_and_channel ON messages (user_id, channel_id, created_at, id, recipient_id)
    WHERE channel_id IS NOT NULL;
CREATE INDEX messages_by_recipient ON messages (recipient_id, created_at, id, user_id);

CREATE TABLE sessions (
    id         TEXT NOT NULL PRIMARY KEY, -- UUID, the `sid` of its access tokens
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, -- who logged in
    created_at TEXT NOT NULL,             -- when
    expires_at TEXT NOT NULL,             -- from when on it can't be refreshed
    revoked_at TEXT                       -- when it was ended before its time, if it was
) STRICT;

CREATE INDEX sessions_by_user ON sessions (user_id);

CREATE TABLE refresh_tokens (
    hash       TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the token, which itself is nowhere kept
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE, -- the session it prolongs
    parent     TEXT REFERENCES refresh_tokens (hash) ON DELETE SET NULL, -- the token it was made from, if any
    created_at TEXT NOT NULL,             -- when it was handed out
    spent_at   TEXT                       -- when its successor was first used: using it again is theft
) STRICT;

CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_by_parent ON refresh_tokens (parent);

CREATE TABLE events (
    position   INTEGER NOT NULL PRIMARY KEY, -- in commit order from 1; dense until some are pruned
    id         TEXT    NOT NULL UNIQUE,      -- UUID, by which a lost answer can be looked up
    type       TEXT    NOT NULL,             -- what happened, e.g. 'message.sent'
    topics     TEXT    NOT NULL,             -- JSON array of all topics that hear of it, in order
    content    TEXT,                         -- JSON they see; none once it is blanked
    subject    TEXT    NOT NULL,             -- id of what it tells of, by which it is blanked
    created_at TEXT    NOT NULL,             -- when it happened
    namespace  TEXT    NOT NULL,             -- decides how long it is kept
    sender     TEXT,                         -- id of the user who published it, if it was a client
    metadata   TEXT                          -- JSON object that a client published with it, if any
) STRICT;

CREATE INDEX events_by_subject ON events (subject);
CREATE INDEX events_by_namespace ON events (namespace, position);
CREATE INDEX events_by_age ON events (namespace, created_at, position);

CREATE TABLE head (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), -- there is one row
    position INTEGER NOT NULL                              -- of the newest event ever; 0 for none
) STRICT;

INSERT INTO head (one, position) VALUES (1, 0);

CREATE TABLE terms (
    number         INTEGER NOT NULL PRIMARY KEY, -- in the order they began
    id             TEXT    NOT NULL UNIQUE,      -- random, part of every cursor made in this term
    first_position INTEGER NOT NULL,             -- the first position that may be written in it
    created_at     TEXT    NOT NULL              -- when a writer began it
) STRICT;

CREATE TABLE floors (
    namespace TEXT    NOT NULL PRIMARY KEY, -- one that is kept now
    position  INTEGER NOT NULL              -- up to this one, its events may be missing
) STRICT;

CREATE TABLE keys (
    user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, -- who sent something under the key
    key         TEXT NOT NULL, -- as they chose it
    fingerprint TEXT NOT NULL, -- of what was sent, to tell a repetition from a reuse
    event_id    TEXT NOT NULL, -- of the event that came of it
    answer      TEXT,          -- JSON of what was answered, if the event does not say it all
    created_at  TEXT NOT NULL, -- when it was first sent
    PRIMARY KEY (user_id, key)
) STRICT;

CREATE INDEX keys_oldest ON keys (created_at);

-- The server's own statements set `updated_at` (and the version); these cover a change by any other hand.
CREATE TRIGGER users_touched AFTER UPDATE ON users
WHEN new.updated_at = old.updated_at AND new.version = old.version
BEGIN
    UPDATE users
    SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), version = old.version + 1
    WHERE id = new.id;
END;

CREATE TRIGGER messages_touched AFTER UPDATE ON messages
WHEN new.updated_at = old.updated_at
BEGIN
    UPDATE messages SET updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = new.id;
END;
