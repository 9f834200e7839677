-- name: log_head
-- The position of the newest event, 0 for an empty log, and the number of the newest term.
SELECT position, (SELECT max(number) FROM terms) AS term FROM head;

-- name: head_lock
-- Lock the head: wait for the writer that holds it, and make others wait.  Also gives the transaction's id.
SELECT position, pg_current_xact_id()::text AS transaction FROM head FOR UPDATE;

-- name: terms_newest
-- The number of the newest term.  Not in `head_lock`, whose snapshot is from before its wait.
SELECT max(number) AS term FROM terms;

-- name: transaction_status
-- The status of a transaction: 'committed', 'aborted' or 'in progress'; null for one long ago.
SELECT pg_xact_status(:transaction::xid8) AS status;

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

-- name: log_move_head
-- The newest event is now at :position.
UPDATE head SET position = :position;

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
INSERT INTO terms (id, first_position, created_at) SELECT :id, position + 1, :at::timestamptz FROM head;
