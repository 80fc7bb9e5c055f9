-- Refuses a document that is larger than the setting max_call_bytes, before it is read; true for all others, so that the
-- domain call_document may ask it.
-- Locks: none. Raises: LX001.
create or replace function loradex.check_call_size(bytes bigint) returns boolean
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
    return true;
end
$$;
comment on function loradex.check_call_size(bigint) is
    'Raises LX001 for a document larger than max_call_bytes; internal.';
revoke execute on function loradex.check_call_size(bigint) from public;
-- A domain asks with the rights of whoever calls.
grant execute on function loradex.check_call_size(bigint) to loradex_client, loradex_admin;
alter domain loradex.call_document drop constraint if exists call_document_check;
alter domain loradex.call_document add constraint call_document_check
    check (loradex.check_call_size(octet_length(value)));
