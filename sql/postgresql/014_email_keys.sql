-- The keys of addresses are folded as Unicode's NFKC_Casefold has it: "ς" is "σ", "ß" is "ss".
-- SQL can't compute them: multiproto/storage/email_keys.py does, in the transaction of this migration.

COMMENT ON COLUMN users.email_key IS 'the same, folded: one account each';
