-- The floor of a namespace that another instance still keeps is not deleted by one that starts without it: its events
-- go on being pruned.  What the latter accepts on its topics is not in the log, so who keeps it later keeps it from then on.

ALTER TABLE floors ADD COLUMN is_kept boolean NOT NULL DEFAULT true;

COMMENT ON COLUMN floors.namespace IS 'one that is kept now, or was';
COMMENT ON COLUMN floors.is_kept IS 'whether all instances that started since it was begun keep it';
