-- name: log_head
-- The newest head: its number, the position of the newest event (0 for an empty log), its mark; the number of the
-- newest term; and the mark of the head :known, if it is there.
SELECT number, position, mark,
       (SELECT max(number) FROM terms) AS term,
       (SELECT mark FROM heads WHERE number = :known) AS known
FROM heads ORDER BY number DESC LIMIT 1;

-- name: head_locked
-- What `log_head` gives, for a writer behind `log_lock`; and in which copy of the log the newest term began, and which
-- this one is: it changes when a standby is promoted, and when a backup is restored over the tables.
SELECT heads.number, heads.position, heads.mark,
       newest.number AS term,
       newest.copy AS term_copy,
       substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '.' || heads.tableoid::bigint AS copy,
       (SELECT mark FROM heads WHERE number = :known) AS known
FROM heads LEFT JOIN (SELECT number, copy FROM terms ORDER BY number DESC LIMIT 1) AS newest ON true
ORDER BY heads.number DESC LIMIT 1;

-- name: heads_among
-- Those of :numbers (a JSON array) that are there.
SELECT number, mark FROM heads WHERE number IN (SELECT json_array_elements_text(:numbers::json)::bigint);

-- name: log_lock
-- Wait until no other writer is in a transaction, and make others wait until the end of this one.
-- An advisory lock, by the name of the schema: it writes nothing, and stays the same when the tables are replaced by
-- those of a backup.
SELECT pg_advisory_xact_lock(1836412018, hashtext(current_schema()));

-- name: head_add
-- The log ends at :position now, with the transaction that has this :mark.
INSERT INTO heads (number, position, mark) VALUES (:number, :position, :mark);

-- name: head_mark
-- The mark of the head :number; no row if there is none, or it was pruned.
SELECT mark FROM heads WHERE number = :number;

-- name: heads_prune
-- Delete the heads with a number above :low, up to :high.  (What lies below was deleted before, and is not looked at.)
DELETE FROM heads WHERE number > :low AND number <= :high;

-- name: log_after
-- At most :limit events after :position, in order; `erasing` where `erasures_pending` has something to hide of them.
SELECT position, id, type, topics, content, subject, created_at, namespace, sender, metadata,
       (EXISTS (SELECT 1 FROM outdated_emails) OR EXISTS (SELECT 1 FROM closed_accounts))::int AS erasing
FROM events
WHERE position > :position
ORDER BY position
LIMIT :limit;

-- name: log_stretch
-- The position of the :most-th event after :low, if there are so many up to :high.
SELECT position
FROM events
WHERE position > :low AND position <= :high
ORDER BY position
LIMIT 1 OFFSET :most::bigint - 1;

-- name: log_page
-- The events after :low, up to :high, in order, that are not redacted and whose topics contain :lead: the
-- beginning of a JSON string, opening quote included.  (Some others, too, where a topic has a quote inside.)
-- The last row is the :most-th, or the one with which content and metadata reach :text bytes.
SELECT position, id, type, topics, content, subject, created_at, namespace, sender, metadata
FROM (
    SELECT *, coalesce(sum(octet_length(content) + coalesce(octet_length(metadata), 0))
                       OVER (ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
    FROM events
    WHERE position > :low AND position <= :high AND content IS NOT NULL AND strpos(topics, :lead) > 0
) AS page
WHERE before < :text
ORDER BY position
LIMIT :most;

-- name: event_position
-- The position of the event :id; no row if it never existed, or was pruned.
SELECT position FROM events WHERE id = :id;

-- name: log_append
-- Append one event, in the transaction of the change that it reports.
INSERT INTO events (position, id, type, topics, content, subject, created_at, namespace, sender, metadata)
VALUES (:position, :id, :type, :topics, :content, :subject, :at, :namespace, :sender, :metadata);

-- name: log_blank
-- Redact all events about :subject, so that resuming clients can't read them.
UPDATE events SET content = NULL, metadata = NULL WHERE subject = :subject;

-- name: terms_all
-- Every term, in the order they began.
SELECT number, id, first_position, copy, parted FROM terms ORDER BY number;

-- name: term_begin
-- A writer starts a term: its entries come after the position :after, or else after the present head.
INSERT INTO terms (id, first_position, created_at, copy, parted)
SELECT :id, coalesce(:after::bigint, position) + 1, :at::timestamptz,
       substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '.' || tableoid::bigint, :after::bigint IS NOT NULL
FROM heads ORDER BY number DESC LIMIT 1;
