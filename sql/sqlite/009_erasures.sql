-- Accounts whose mailbox address has changed, while older events still have the old one: it is removed from them in
-- batches, and from what is read of them meanwhile.

CREATE TABLE outdated_emails (
    user_id     TEXT    NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE, -- whose address
    position    INTEGER NOT NULL,          -- events about the account up to this one may have it
    erased_upto INTEGER NOT NULL DEFAULT 0 -- those up to this one have it no longer
) STRICT;

-- Accounts that were closed, while rows and events of theirs are still there: those are deleted and redacted in batches,
-- the row of the account last.

CREATE TABLE closed_accounts (
    user_id     TEXT    NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE, -- whose account
    erased_upto INTEGER NOT NULL DEFAULT 0 -- the events about it are redacted up to this position
) STRICT;

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
