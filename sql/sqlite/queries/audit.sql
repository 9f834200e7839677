-- The audit log: who did what to which account, or tried to.

-- name: audit_add
-- Record an action that happened :times times.
INSERT INTO audit (id, at, actor, subject, action, outcome, protocol, address, session_id, times, details)
VALUES (:id, :at, :actor, :subject, :action, :outcome, :protocol, :address, :session_id, :times, :details);

-- name: audit_page
-- mirror: audit_page_after
-- At most :limit rows before :bound, newest first, behind the first :offset ones; `position` is that in this list.
SELECT id, at, actor, subject, action, outcome, protocol, address, session_id, times, details, number AS position
FROM audit
WHERE number < :bound
ORDER BY number DESC
LIMIT :limit OFFSET :offset;

-- name: audit_count
-- How many there are.
SELECT count(*) AS total FROM audit;

-- name: audit_page_by_action
-- mirror: audit_page_after_by_action
-- The same of one action.
SELECT id, at, actor, subject, action, outcome, protocol, address, session_id, times, details, number AS position
FROM audit
WHERE action = :action AND number < :bound
ORDER BY number DESC
LIMIT :limit OFFSET :offset;

-- name: audit_count_by_action
-- How many there are of one action.
SELECT count(*) AS total FROM audit WHERE action = :action;

-- name: audit_page_by_subject
-- mirror: audit_page_after_by_subject
-- The same of one account, and of one action unless that is ''.
SELECT id, at, actor, subject, action, outcome, protocol, address, session_id, times, details, number AS position
FROM audit
WHERE subject = :subject AND number < :bound AND (:action = '' OR action = :action)
ORDER BY number DESC
LIMIT :limit OFFSET :offset;

-- name: audit_count_by_subject
-- How many there are of one account, and of one action unless that is ''.
SELECT count(*) AS total FROM audit WHERE subject = :subject AND (:action = '' OR action = :action);

-- name: audit_end
-- The number of the newest row; 0 for none.
SELECT coalesce(max(number), 0) AS number FROM audit;

-- name: audit_due
-- When the oldest entry was written that is older than :before; no row if there is none.
SELECT at FROM audit WHERE at < :before ORDER BY at LIMIT 1;

-- name: audit_prune
-- Delete at most :most entries from before :before, the oldest first.
DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < :before ORDER BY at LIMIT :most);
