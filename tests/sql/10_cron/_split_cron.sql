-- a time zone follows the expression in brackets, or is given as an argument

begin;
select plan(26);

select results_eq(
    format('select btrim(split.cron), split.zone from underway._split_cron(%L, %L) split', given.cron, given.zone),
    format('values (%L, %L)', given.expression, given.in_zone),
    format('%L with %s is %L in %s', given.cron, coalesce(given.zone, 'no zone'), given.expression, given.in_zone)
)
from (values
    ('@daily', null, '@daily', 'UTC'),
    ('0 9 * * mon-fri', null, '0 9 * * mon-fri', 'UTC'),
    ('@daily', 'Europe/Berlin', '@daily', 'Europe/Berlin'),
    ('@daily[America/Los_Angeles]', null, '@daily', 'America/Los_Angeles'),
    ('0 9 * * mon-fri[America/Argentina/Buenos_Aires]', null, '0 9 * * mon-fri', 'America/Argentina/Buenos_Aires'),
    ('0 0 9 L * ? 2030[Etc/GMT+5]', null, '0 0 9 L * ? 2030', 'Etc/GMT+5'),
    ('@daily[UTC]', null, '@daily', 'UTC'),
    ('@daily[europe/berlin]', null, '@daily', 'europe/berlin'),
    -- the same zone in both places
    ('@daily[Europe/Berlin]', 'Europe/Berlin', '@daily', 'Europe/Berlin'),
    ('@daily[UTC]', 'UTC', '@daily', 'UTC'),
    -- blanks around the parts
    ('  @daily [Europe/Berlin]', null, '@daily', 'Europe/Berlin'),
    (E'\t0 9 * * *\t[Europe/Berlin] \t', null, '0 9 * * *', 'Europe/Berlin')
) as given (cron, zone, expression, in_zone);

-- refusals

select throws_ok(
    format('select underway._split_cron(%L, %L)', given.cron, given.zone), 'UW008', null,
    format('%s with %s is refused', coalesce(quote_literal(given.cron), 'null'), coalesce(given.zone, 'no zone'))
)
from (values
    (null, null),
    (null, 'Europe/Berlin'),
    -- two zones
    ('@daily[Europe/Berlin]', 'Europe/Paris'),
    ('@daily[Europe/Berlin]', 'UTC'),
    ('@daily[UTC][UTC]', null),
    -- an unknown zone
    ('@daily', 'Europe/Nowhere'),
    ('@daily', ''),
    ('@daily[Europe/Nowhere]', null),
    ('@daily[]', null),
    ('@daily[CET]', null),
    ('@daily[UTC+2]', null),
    -- misplaced brackets
    ('[UTC]@daily', null),
    ('@daily[UTC', null),
    ('0 9 * *[UTC] *', null)
) as given (cron, zone);

select * from finish();
rollback;
