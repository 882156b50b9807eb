-- settings: the settings of the whole schema, which underway.configure changes.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace view underway.settings as
select s.max_input_size, s.max_output_size
from underway.setting s;

comment on view underway.settings is
    'The settings of the whole schema: how many bytes of text an input and an output of a task may have.';
