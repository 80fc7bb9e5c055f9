-- Makes the partition of answers for a moment's month (UTC), unless it is there. record_answer calls it, so that nobody
-- has to see to it. It is made beside the table and then attached, which holds up nobody who reads or writes answers.
-- Locks: loradex.answers in SHARE UPDATE EXCLUSIVE mode, where a partition is made. Raises: nothing of its own.
create or replace function loradex.make_partition(moment timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    first_day timestamptz := date_trunc('month', moment, 'UTC');
    name text := to_char(first_day at time zone 'UTC', '"answers_"YYYY_MM');
begin
    if to_regclass('loradex.' || name) is not null then
        return;
    end if;
    execute format('create table loradex.%I (like loradex.answers including all)', name);
    execute format(
        'create trigger append_only before delete or truncate on loradex.%I '
        'for each statement execute function loradex.refuse_change()', name);
    execute format(
        'alter table loradex.answers attach partition loradex.%I for values from (%L) to (%L)',
        name, first_id(first_day), first_id((first_day at time zone 'UTC' + interval '1 month') at time zone 'UTC'));
end
$$;
comment on function loradex.make_partition(timestamptz) is
    'Makes the partition of answers for a month, unless it is there; internal.';
revoke execute on function loradex.make_partition(timestamptz) from public;
