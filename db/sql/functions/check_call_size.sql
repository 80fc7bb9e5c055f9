-- Refuses a document that is larger than the setting max_call_bytes, before it is read.
-- Locks: none. Raises: LX001.
create or replace function loradex.check_call_size(bytes bigint) returns void
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    most bigint := (select s.value from settings s where s.name = 'max_call_bytes');
begin
    if bytes > most then
        raise exception using errcode = 'LX001', message = format(
            'the call has %s bytes of JSON and may have %s (setting max_call_bytes); split it', bytes, most);
    end if;
end
$$;
comment on function loradex.check_call_size(bigint) is
    'Raises LX001 for a document larger than max_call_bytes; internal.';
revoke execute on function loradex.check_call_size(bigint) from public;
