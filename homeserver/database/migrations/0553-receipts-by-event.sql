-- owner: receipts
-- A room that a client begins with is shown with the receipts on the events of its timeline.
create index receipts_by_event on receipts (event_id);
