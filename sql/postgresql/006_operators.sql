-- Who may read the whole audit log: accounts, never addresses, which others can have later.

CREATE TABLE operators (
    user_id    text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    granted_at timestamptz(3) NOT NULL
);

-- The addresses that OPERATORS has ever named.  A row stays as it is, also when the account is closed.
CREATE TABLE operator_addresses (
    email_key   text COLLATE "C" NOT NULL PRIMARY KEY,
    user_id     text COLLATE "C",
    resolved_at timestamptz(3) NOT NULL
);

COMMENT ON TABLE operators IS 'Accounts that a command made operators';
COMMENT ON COLUMN operators.user_id IS 'id of the account';
COMMENT ON COLUMN operators.granted_at IS 'when';
COMMENT ON TABLE operator_addresses IS 'Whose the addresses of OPERATORS were when they were first named';
COMMENT ON COLUMN operator_addresses.email_key IS 'in the spelling that is compared';
COMMENT ON COLUMN operator_addresses.user_id IS 'whose it was when it was first named; none: nobody''s, for good';
COMMENT ON COLUMN operator_addresses.resolved_at IS 'when that was';
