-- owner: events
-- Whether a user has annotated an event before, however many others have.
create index event_relations_annotations on event_relations (relates_to, sender) where rel_type = 'm.annotation';
