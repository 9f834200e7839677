-- Where sessions are used from, and the trail of who did what to whose account.

-- When the session was last refreshed; none: not since it began.
ALTER TABLE sessions ADD COLUMN used_at TEXT;

-- The address it was last used from, if that is known.
ALTER TABLE sessions ADD COLUMN address TEXT;

-- What the client called itself then, if it did.
ALTER TABLE sessions ADD COLUMN client TEXT;

-- By the time that they end, or have ended.
CREATE INDEX sessions_ended ON sessions (coalesce(revoked_at, expires_at));

CREATE TABLE audit (
    id         TEXT    NOT NULL PRIMARY KEY, -- UUID, lower case
    at         TEXT    NOT NULL,             -- when it happened; of several alike, when the last was noted
    actor      TEXT,                         -- id of the user who did it; none where nobody proved to be one
    subject    TEXT,                         -- id of the user whose account it concerns, or what else it concerns
    action     TEXT    NOT NULL,             -- what was done or tried, e.g. 'login'
    outcome    TEXT    NOT NULL,             -- 'success', or why not
    protocol   TEXT    NOT NULL,             -- how it was asked for
    address    TEXT,                         -- of the client, if that is known
    session_id TEXT,                         -- the session it was done in or to
    times      INTEGER NOT NULL,             -- how many alike this row stands for
    details    TEXT                          -- JSON object of what else there is to say
) STRICT;

-- It outlives users and sessions: no column refers to theirs.
CREATE INDEX audit_newest ON audit (at, id);
CREATE INDEX audit_by_subject ON audit (subject, at, id);
CREATE INDEX audit_by_action ON audit (action, at, id);
