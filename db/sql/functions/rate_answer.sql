-- Writes down how good an answer is to whoever asked for it: 1 or -1. Rating it again adds a row, and the last one counts.
-- An owner rates its own answers alone.
-- Locks: none. Raises: LX001 another rating, or too many of one answer; LX004 no such answer, or another user's; LX011 no
-- seal of this transaction; 42501 the key may not ask.
create or replace function loradex.rate_answer(answer_id uuid, rating int) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    rater constant bigint := current_owner();
    rated record;
    made bigint;
begin
    perform check_scope('ask');
    if rating is null or rate_answer.rating not in (-1, 1) then
        raise exception using errcode = 'LX001', message = format(
            'rating is %s; give 1 for good or -1 for bad', coalesce(rate_answer.rating::text, 'null'));
    end if;
    select a.id, a.chain_hash, a.owner_id, a.owner into rated
    from answers a where a.id = rate_answer.answer_id and a.owner_id = rater;
    if not found then
        raise exception using errcode = 'LX004', message = format(
            'no answer %s to rate, or it is another user''s', rate_answer.answer_id);
    end if;
    if (select count(*) from feedback f where f.answer_id = rated.id) >= 100 then
        raise exception using errcode = 'LX001', message = format(
            'answer %s was rated 100 times, which is the most', rated.id);
    end if;
    insert into feedback (answer_id, chain_hash, owner_id, owner, login, rating)
    values (rated.id, rated.chain_hash, rated.owner_id, rated.owner, session_user, rate_answer.rating)
    returning id into made;
    return made;
end
$$;
comment on function loradex.rate_answer(uuid, int) is
    'Writes down how good an answer is to whoever asked for it: 1 or -1; returns the row''s id.';
revoke execute on function loradex.rate_answer(uuid, int) from public;
grant execute on function loradex.rate_answer(uuid, int) to loradex_client, loradex_admin;
