-- The newest tasks that a filter selects, at most so many of each shard; the filter is that of find_tasks.
create function underway._tasks(filter jsonb, max_tasks integer)
returns setof underway.task_info
language plproxy
as $$
    cluster 'underway';
    run on underway._partitions(null);
    select i.* from underway.find_tasks(filter, null, max_tasks) f
        cross join lateral unnest(f.tasks) as t (id) cross join lateral underway.task_info(t.id) i;
$$;

create function underway.tasks(filter jsonb default '{}', max_tasks integer default 50)
returns setof underway.task_info
language sql
stable
as $$
    select t.* from underway._tasks(tasks.filter, tasks.max_tasks) t order by t.enqueued_at desc, t.id desc
    limit tasks.max_tasks;
$$;

grant usage on schema underway to underway_observer, underway_operator;
grant usage on foreign server underway to underway_observer, underway_operator;
grant select on all tables in schema underway to underway_observer, underway_operator;

commit;
