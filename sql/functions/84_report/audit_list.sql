-- audit_list: what people have done, as record_action has recorded it.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace view underway.audit_list as
select a.id, a.at, a.actor, a.role, a.source, a.action, a.details
from underway.audit a;

comment on view underway.audit_list is
    'The recorded actions of people of the last 90 days: who, with which login role, from where, what.';
