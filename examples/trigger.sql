-- Underway in plain SQL: a trigger enqueues, and psql is the worker. Everything is rolled back at the end.
--
--   psql -v ON_ERROR_STOP=1 -f examples/trigger.sql $DATABASE_URL

begin;

select underway.create_queue('shipping-dead');
select underway.create_queue('shipping', dead_letter_queue => 'shipping-dead');

create table orders (id integer primary key, address text not null);

-- The order and the task that ships it are one transaction: after a rollback neither exists.

create function ship_order() returns trigger
language plpgsql as $$
begin
    perform underway.enqueue('shipping', jsonb_build_object('order', new.id, 'address', new.address), job => 'ship');
    return new;
end;
$$;

create trigger ship_order after insert on orders for each row execute function ship_order();

insert into orders values (1, 'Harbour Road 1'), (2, 'no such street');

savepoint before_the_third;
insert into orders values (3, 'Mill Lane 3');
rollback to before_the_third;

-- The worker claims the ready tasks under a lease. A program would keep the rows in memory; this script uses a table.

create temporary table claimed on commit drop as
select * from underway.dequeue('shipping', max_tasks => 10);

select c.input ->> 'order' as claimed_order, c.attempt from claimed c order by c.id;

-- It reports the outcome of each task: completed, or failed. This failure is permanent: no further attempt would help.

select underway.complete(c.id, c.lease, '{"parcel": "P-1"}') from claimed c where c.input ->> 'order' = '1';

select underway.fail(c.id, c.lease, '{"type": "AddressError", "message": "no such street"}', retryable => false)
from claimed c where c.input ->> 'order' = '2';

select i.input ->> 'order' as shipped_order, i.state, i.output, i.errors -> 0 ->> 'message' as error
from claimed c cross join underway.task_info(c.id) i
order by i.id;

select l.queue, l.dead_letter_of = c.id as is_order_2
from underway.task_list l join claimed c on c.input ->> 'order' = '2'
where l.queue = 'shipping-dead';

rollback;
