-- A namespace behind a wider one was ignored: its topics belonged to the wider one, whose prunings its floor does not
-- know.  Now it must come first.  It has no events, so it begins anew, as one that was added now.

UPDATE floors
SET position = (SELECT position FROM head)
WHERE namespace NOT IN ('users.**', 'messages.**', '_sessions', '_canary')
  AND NOT EXISTS (SELECT 1 FROM events WHERE events.namespace = floors.namespace);
