-- The oldest answer that waits to be computed once more by this model in these numbers. A worker that gives no sign of life
-- (keep_replay) for 30 seconds loses it to another; one that was lost twice is refused, since it may be what its workers
-- died of. No rows: none waits. What is older than ten minutes is deleted on the way.
-- Locks: the rows. Raises: nothing.
create or replace function loradex.claim_replay(worker text, base_model text, numbers text)
returns table (id uuid, answer_id uuid)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    most_claims constant int := 2;
    silence constant interval := interval '30 seconds';
begin
    delete from replays r where r.id in (
        select o.id from replays o where o.created_at < now() - interval '10 minutes' for update skip locked);
    update replays r
    set error_code = 'too_many_attempts', error_message = format('it was lost %s times by its workers', r.claims)
    where r.id in (
        select l.id from replays l
        where num_nonnulls(l.told, l.error_code) = 0 and l.claims >= most_claims and l.claimed_at < now() - silence
        for update skip locked);
    return query
    update replays r set worker = claim_replay.worker, claims = r.claims + 1, claimed_at = now()
    where r.id = (
        select w.id from replays w
        where w.base_model = claim_replay.base_model and w.numbers = claim_replay.numbers
          and num_nonnulls(w.told, w.error_code) = 0 and coalesce(w.claimed_at < now() - silence, true)
        order by w.created_at limit 1 for update skip locked)
    returning r.id, r.answer_id;
end
$$;
comment on function loradex.claim_replay(text, text, text) is
    'The oldest answer that waits to be computed once more, for a worker of its model.';
revoke execute on function loradex.claim_replay(text, text, text) from public;
grant execute on function loradex.claim_replay(text, text, text) to loradex_worker;
