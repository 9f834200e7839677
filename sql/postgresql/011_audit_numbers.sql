-- The audit log in the order in which it was written, so that who reads on behind a record misses none: clocks differ, and
-- some records are written some time after what they tell of.

ALTER TABLE audit ADD COLUMN number bigint;

UPDATE audit SET number = placed.number
FROM (SELECT id, row_number() OVER (ORDER BY at, id) AS number FROM audit) AS placed
WHERE placed.id = audit.id;

ALTER TABLE audit ALTER COLUMN number SET NOT NULL;
ALTER TABLE audit ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY;
SELECT setval(pg_get_serial_sequence('audit', 'number'), max(number)) FROM audit;

DROP INDEX audit_newest;
DROP INDEX audit_by_subject;
DROP INDEX audit_by_action;

CREATE UNIQUE INDEX audit_newest ON audit (number);
CREATE INDEX audit_by_age ON audit (at, id);
CREATE INDEX audit_by_subject ON audit (subject, number);
CREATE INDEX audit_by_action ON audit (action, number);

COMMENT ON COLUMN audit.number IS 'in the order they were written; never given twice';
