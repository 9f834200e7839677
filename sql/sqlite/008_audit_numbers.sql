-- The audit log in the order in which it was written, so that who reads on behind a record misses none: clocks differ, and
-- some records are written some time after what they tell of.

CREATE TABLE audit_numbered (
    number     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, -- in the order they were written; never given twice
    id         TEXT    NOT NULL UNIQUE,      -- UUID, lower case
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

INSERT INTO audit_numbered (id, at, actor, subject, action, outcome, protocol, address, session_id, times, details)
SELECT id, at, actor, subject, action, outcome, protocol, address, session_id, times, details
FROM audit
ORDER BY at, id;

DROP TABLE audit;
ALTER TABLE audit_numbered RENAME TO audit;

CREATE INDEX audit_by_age ON audit (at, id);
CREATE INDEX audit_by_subject ON audit (subject, number);
CREATE INDEX audit_by_action ON audit (action, number);
