-- How far each instance has delivered the log.  Times are those of the database's clock, which all have in common.

-- name: instance_seen
-- The instance :id has delivered the log up to :position.
INSERT INTO instances (id, position) VALUES (:id, :position)
ON CONFLICT (id) DO UPDATE SET position = excluded.position, seen_at = excluded.seen_at;

-- name: instance_gone
-- The instance :id has stopped.
DELETE FROM instances WHERE id = :id;

-- name: instances_forget
-- Delete the instances that were last seen more than :age seconds ago.
DELETE FROM instances WHERE seen_at < clock_timestamp() - make_interval(secs => :age);

-- name: instances_slowest
-- The lowest position of those instances that were seen in the last :age seconds; null for none.
SELECT min(position) AS position FROM instances WHERE seen_at >= clock_timestamp() - make_interval(secs => :age);
