-- unfinished_moves: the batches of tasks that are on their way to another shard: neither database can run them.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace view underway.unfinished_moves as
select
    m.shard,
    jsonb_array_length(m.tasks) as tasks,
    m.begun_at
from underway.outgoing_move m
where m.batch is not null;

comment on view underway.unfinished_moves is
    'The batches of tasks that are on their way to another shard. One that is older than some seconds was left by a move that'
    ' was interrupted.';
