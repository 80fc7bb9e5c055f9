-- Notes that this login has just found the chain intact up to a position, so that a monitor can say how long ago that was.
-- A note for people who watch, and no evidence: whoever may call it may lie. One row a login.
-- Locks: this login's own row. Raises: LX001 no position, or one behind the head.
create or replace function loradex.note_verification(up_to bigint) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    if note_verification.up_to is null or note_verification.up_to < 0
       or note_verification.up_to > coalesce((select h.position from chain_head() h), 0) then
        raise exception using errcode = 'LX001', message = format(
            'the chain does not reach position %s', coalesce(note_verification.up_to::text, 'null'));
    end if;
    insert into verifications (login, position) values (session_user, note_verification.up_to)
    on conflict (login) do update set verified_at = now(), position = excluded.position;
end
$$;
comment on function loradex.note_verification(bigint) is
    'Notes that this login found the chain intact up to a position, just now.';
revoke execute on function loradex.note_verification(bigint) from public;
grant execute on function loradex.note_verification(bigint) to loradex_reader, loradex_worker, loradex_admin;
