-- Who may read the whole audit log: accounts, never addresses, which others can have later.

CREATE TABLE operators (
    user_id    TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE, -- made one by a command
    granted_at TEXT NOT NULL -- when
) STRICT;

-- The addresses that OPERATORS has ever named.  A row stays as it is, also when the account is closed.
CREATE TABLE operator_addresses (
    email_key   TEXT NOT NULL PRIMARY KEY, -- in the spelling that is compared
    user_id     TEXT,                      -- whose it was when it was first named; none: nobody's, for good
    resolved_at TEXT NOT NULL              -- when that was
) STRICT;
