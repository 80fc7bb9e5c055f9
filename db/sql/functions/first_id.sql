-- The least id that an answer of a moment can have: ids begin with their time in milliseconds. With it, answers of a time
-- are found without looking at other months: `where id >= loradex.first_id(now() - interval '1 day')`. Moments before
-- 1970 and after 9999 have the ids of these.
-- Locks: none. Raises: nothing.
create or replace function loradex.first_id(moment timestamptz) returns uuid
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select case when moment is not null then rpad(lpad(to_hex(floor(1000 * extract(
        epoch from least(greatest(moment, '1970-01-01 00:00+00'), '9999-12-31 00:00+00')))::bigint), 12, '0'), 32, '0')
        end::uuid
$$;
comment on function loradex.first_id(timestamptz) is
    'The least id that an answer of a moment can have, to find answers of a time without looking at other months.';
revoke execute on function loradex.first_id(timestamptz) from public;
grant execute on function loradex.first_id(timestamptz) to loradex_reader, loradex_client, loradex_worker, loradex_admin;
