-- name: log_head
-- The position of the newest event; 0 for an empty log.
SELECT position FROM head;

-- name: log_after
-- At most :limit events after :position, in order; `erasing` where `erasures_pending` has something to hide of them.
SELECT position, id, type, topics, content, subject, created_at, namespace, sender, metadata, crc32,
       EXISTS (SELECT 1 FROM outdated_emails) OR EXISTS (SELECT 1 FROM closed_accounts) AS erasing
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
LIMIT 1 OFFSET :most - 1;

-- name: log_page
-- The events after :low, up to :high, in order, that are not redacted and whose topics contain :lead: the
-- beginning of a JSON string, opening quote included.  (Some others, too, where a topic has a quote inside.)
SELECT position, id, type, topics, content, subject, created_at, namespace, sender, metadata, crc32
FROM events
WHERE position > :low AND position <= :high AND content IS NOT NULL AND instr(topics, :lead)
ORDER BY position;

-- name: event_position
-- The position of the event :id; no row if it never existed, or was pruned.
SELECT position FROM events WHERE id = :id;

-- name: log_append
-- Append one event, in the transaction of the change that it reports.
INSERT INTO events (position, id, type, topics, content, subject, created_at, namespace, sender, metadata, crc32)
VALUES (
    :position, :id, :type, :topics, :content, :subject, :at, :namespace, :sender, :metadata,
    row_crc32(:position, :id, :type, :topics, :content, :subject, :at, :namespace, :sender, :metadata)
);

-- name: log_move_head
-- The newest event is now at :position.
UPDATE head SET position = :position;

-- name: log_blank
-- Redact all events about :subject, so that resuming clients can't read them.
UPDATE events
SET content = NULL, metadata = NULL,
    crc32 = row_crc32(position, id, type, topics, NULL, subject, created_at, namespace, sender, NULL)
WHERE subject = :subject;

-- name: terms_all
-- Every term, in the order they began.
SELECT id, first_position FROM terms ORDER BY number;

-- name: term_begin
-- A writer starts a term: its entries come after the present head.
INSERT INTO terms (id, first_position, created_at) SELECT :id, position + 1, :at FROM head;
