-- unique keys whose time is over

begin;
select plan(5);

select underway_test.stop_clock();
select underway.create_queue('email');

select underway.enqueue_many('email', '{1,2,3}', unique_keys => '{a,b,c}', unique_for => '1 hour');
select underway.enqueue('email', unique_key => 'later', unique_for => '2 hours');

select underway_test.advance_clock('1 hour');

select is(underway._prune_reservations(2), 2, 'no more are forgotten than asked for');

select is(underway._prune_reservations(), 1, 'the rest goes at the next call');

select results_eq(
    $$ select h.unique_key::text collate "default" from underway.unique_reservation h $$, array['later'],
    'a reservation whose time is not over stays'
);

select is(underway._prune_reservations(), 0, 'then there is nothing to do');

select underway_test.advance_clock('1 hour');
select underway._run_chores();

select is_empty($$ select from underway.unique_reservation h $$, 'upkeep does it');

select * from finish();
rollback;
