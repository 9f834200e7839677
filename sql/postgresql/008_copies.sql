-- Each term says in which copy of the log it began, and whether it did because an instance knew another history: the
-- first writer on a promoted standby, or in a restored backup, begins a new term before it writes anything.

ALTER TABLE terms ADD COLUMN copy text COLLATE "C";
ALTER TABLE terms ADD COLUMN parted boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN terms.copy IS 'the timeline of the server, and the id of the table heads, when it began; none in terms that are older';
COMMENT ON COLUMN terms.parted IS 'whether it began where the log parts from the one that its writer knew';
