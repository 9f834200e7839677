-- name: log_head
-- The newest head: its number, the position of the newest event (0 for an empty log), its mark; and the number of the
-- newest term.
SELECT number, position, mark, (SELECT max(number) FROM terms) AS term FROM heads ORDER BY number DESC LIMIT 1;

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
-- At most :limit events after :position, in order.
SELECT position, id, type, topics, content, subject, created_at, namespace, sender, metadata
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

-- name: log_blank_account
-- Redact all events about the user :id and about messages from or to them.
-- To be executed before `user_drop`, which deletes the messages.
UPDATE events SET content = NULL, metadata = NULL
WHERE subject IN (
    SELECT :id
    UNION ALL SELECT id FROM messages WHERE user_id = :id
    UNION ALL SELECT id FROM messages WHERE recipient_id = :id
);

-- name: log_forget_email
-- Remove the mailbox address from all events so far about the user :id; those that have none are not written again.
UPDATE events SET content = (content::jsonb #- '{user,email}')::text
WHERE subject = :id AND content LIKE '%"email"%';

-- name: terms_all
-- Every term, in the order they began.
SELECT number, id, first_position FROM terms ORDER BY number;

-- name: term_begin
-- A writer starts a term: its entries come after the present head.
INSERT INTO terms (id, first_position, created_at)
SELECT :id, position + 1, :at::timestamptz FROM heads ORDER BY number DESC LIMIT 1;
