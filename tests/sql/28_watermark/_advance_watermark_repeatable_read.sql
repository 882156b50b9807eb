begin isolation level repeatable read;
select plan(1);

select underway._advance_watermark('email', 0);
select is_empty('select from underway.watermark', 'a repeatable read transaction moves no watermark');

select * from finish();
rollback;
