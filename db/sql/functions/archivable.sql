-- Which part of the chain may be archived next: the answers of the oldest months that are over for longer than the setting
-- retention_months, with all notes between them. Usually that is one month. If the clock was set back over the turn of a
-- month, so that answers of both lie mixed in the chain, it is the two together. No row: there is nothing to archive.
-- How many of the answers are erased tells whoever wrote the part down whether it still is what they wrote.
-- Locks: none. Raises: nothing.
create or replace function loradex.archivable(now timestamptz default now())
returns table (
    before timestamptz, first_position bigint, last_position bigint, last_hash bytea, answers bigint, erased bigint
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    over constant timestamptz := (date_trunc('month', archivable.now at time zone 'UTC') - (
        select make_interval(months => s.value::int) from settings s where s.name = 'retention_months'))
        at time zone 'UTC';
    first constant bigint := (select b.position from chain_beginning() b);
    oldest uuid := (select a.id from answers a order by a.id limit 1);
    month timestamptz;
    last record;
begin
    if oldest is null then
        return;
    end if;
    month := date_trunc('month', uuid_extract_timestamp(oldest), 'UTC');
    while month < over loop
        month := (month at time zone 'UTC' + interval '1 month') at time zone 'UTC';
        select a.position, a.chain_hash into last
        from answers a where a.id < first_id(month) order by a.position desc limit 1;
        if not exists (select from answers a where a.id >= first_id(month) and a.position < last.position) then
            return query
            select month, first, last.position, last.chain_hash, count(*), count(a.commitments)
            from answers a where a.id < first_id(month);
            return;
        end if;
    end loop;
end
$$;
comment on function loradex.archivable(timestamptz) is
    'The part of the chain that may be archived next: the oldest months that are over for longer than retention_months.';
revoke execute on function loradex.archivable(timestamptz) from public;
grant execute on function loradex.archivable(timestamptz) to loradex_admin;
