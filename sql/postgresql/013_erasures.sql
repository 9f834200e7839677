-- Accounts whose mailbox address has changed, while older events still have the old one: it is removed from them in
-- batches, and from what is read of them meanwhile.

CREATE TABLE outdated_emails (
    user_id     text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    position    bigint NOT NULL,
    erased_upto bigint NOT NULL DEFAULT 0
);

COMMENT ON TABLE outdated_emails IS 'Accounts whose address has changed, while older events still have the old one';
COMMENT ON COLUMN outdated_emails.user_id IS 'whose address';
COMMENT ON COLUMN outdated_emails.position IS 'events about the account up to this one may have it';
COMMENT ON COLUMN outdated_emails.erased_upto IS 'those up to this one have it no longer';

-- The events about one account in their order, batch by batch; SQLite's index has the position without being told.
CREATE INDEX events_by_subject_and_position ON events (subject, position);
DROP INDEX events_by_subject;
ALTER INDEX events_by_subject_and_position RENAME TO events_by_subject;

-- Accounts that were closed, while rows and events of theirs are still there: those are deleted and redacted in batches,
-- the row of the account last.

CREATE TABLE closed_accounts (
    user_id     text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    erased_upto bigint NOT NULL DEFAULT 0
);

COMMENT ON TABLE closed_accounts IS 'Accounts that were closed, while rows and events of theirs are still there';
COMMENT ON COLUMN closed_accounts.user_id IS 'whose account';
COMMENT ON COLUMN closed_accounts.erased_upto IS 'the events about it are redacted up to this position';

-- What those messages are, of which no list has any: it is subtracted from the totals.
CREATE VIEW messages_of_closed_accounts AS
SELECT message.id, message.user_id, message.channel_id, message.recipient_id
FROM closed_accounts AS closed CROSS JOIN messages AS message
WHERE message.user_id = closed.user_id
UNION ALL
SELECT message.id, message.user_id, message.channel_id, message.recipient_id
FROM closed_accounts AS closed CROSS JOIN messages AS message
WHERE message.recipient_id = closed.user_id AND message.user_id NOT IN (SELECT user_id FROM closed_accounts);

-- Which sessions of one user are open, however many have ended.
CREATE INDEX sessions_unrevoked ON sessions (user_id) WHERE revoked_at IS NULL;
