-- Where sessions are used from, and the trail of who did what to whose account.

ALTER TABLE sessions ADD COLUMN used_at timestamptz(3);
ALTER TABLE sessions ADD COLUMN address text COLLATE "C";
ALTER TABLE sessions ADD COLUMN client text COLLATE "C";

COMMENT ON COLUMN sessions.used_at IS 'when it was last refreshed; none: not since it began';
COMMENT ON COLUMN sessions.address IS 'the address it was last used from, if that is known';
COMMENT ON COLUMN sessions.client IS 'what the client called itself then, if it did';

-- By the time that they end, or have ended.
CREATE INDEX sessions_ended ON sessions (coalesce(revoked_at, expires_at));

CREATE TABLE audit (
    id         text COLLATE "C" PRIMARY KEY,
    at         timestamptz(3) NOT NULL,
    actor      text COLLATE "C",
    subject    text COLLATE "C",
    action     text COLLATE "C" NOT NULL,
    outcome    text COLLATE "C" NOT NULL,
    protocol   text COLLATE "C" NOT NULL,
    address    text COLLATE "C",
    session_id text COLLATE "C",
    times      bigint NOT NULL,
    details    text COLLATE "C"
);

-- It outlives users and sessions: no column refers to theirs.
CREATE INDEX audit_newest ON audit (at, id);
CREATE INDEX audit_by_subject ON audit (subject, at, id);
CREATE INDEX audit_by_action ON audit (action, at, id);

COMMENT ON TABLE audit IS 'Who did what to whose account, or tried to';
COMMENT ON COLUMN audit.id IS 'UUID, lower case';
COMMENT ON COLUMN audit.at IS 'when it happened; of several alike, when the last was noted';
COMMENT ON COLUMN audit.actor IS 'id of the user who did it; none where nobody proved to be one';
COMMENT ON COLUMN audit.subject IS 'id of the user whose account it concerns, or what else it concerns';
COMMENT ON COLUMN audit.action IS 'what was done or tried, e.g. login';
COMMENT ON COLUMN audit.outcome IS 'success, or why not';
COMMENT ON COLUMN audit.protocol IS 'how it was asked for';
COMMENT ON COLUMN audit.address IS 'of the client, if that is known';
COMMENT ON COLUMN audit.session_id IS 'the session it was done in or to';
COMMENT ON COLUMN audit.times IS 'how many alike this row stands for';
COMMENT ON COLUMN audit.details IS 'JSON object of what else there is to say';
