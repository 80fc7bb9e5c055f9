-- Asks for an answer of one's own to be computed once more from its stored facts, by a worker that has its model in memory,
-- and returns the request's id; take_replay gives how the two compare. Nothing is recorded. An owner may have 4 requests
-- waiting, everybody together 256.
-- Locks: none that others wait for. Raises: LX004 unknown answer, or another user's; LX008 too many wait; LX012 it was
-- erased, its model is another one today, only vLLM could give it again, or the workers at hand compute in other numbers;
-- LX011 and 42501 the API key may not ask.
create or replace function loradex.ask_replay(answer_id uuid) returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    most_of_owner constant int := 4;
    most_of_all constant int := 256;
    asking constant bigint := current_owner();
    made constant uuid := gen_random_uuid();
    answer answers;
    today text;
    others text;
    wanted text;
begin
    perform check_scope('ask');
    select a.* into answer from answers a where a.id = ask_replay.answer_id and a.owner_id = asking;
    if not found then
        raise exception using errcode = 'LX004', message = format(
            'no answer %s, or it is another user''s; check the id', coalesce(ask_replay.answer_id::text, 'null'));
    end if;
    if answer.commitments is not null then
        raise exception using errcode = 'LX012', message =
            'its question was erased, so that it cannot be answered once more';
    end if;
    select b.revision into today from base_models b where b.name = answer.base_model;
    if today is distinct from answer.base_model_revision then
        raise exception using errcode = 'LX012', message = format(
            'it was answered by %s at %s, and the model of that name is %s now; run loradex replay where the one of then is',
            answer.base_model, answer.base_model_revision, coalesce(today, 'gone'));
    end if;
    if answer.versions ? 'vllm' and answer.generation ->> 'kind' = 'generate'
       and (answer.generation ->> 'sampling_temperature')::float8 > 0 then
        raise exception using errcode = 'LX012', message =
            'vLLM sampled it, with random numbers of its own that no other engine draws; what it wrote at '
            'sampling_temperature 0 can be replayed';
    end if;
    if answer.versions ? 'vllm' and coalesce(
           answer.versions ->> 'vllm_arguments', answer.generation ->> 'quantization') is not null then
        raise exception using errcode = 'LX012', message = format(
            'vLLM computed it with %s, by which it is another model than ours: our own engine has none of that',
            coalesce(answer.versions ->> 'vllm_arguments', answer.generation ->> 'quantization'));
    end if;
    wanted := concat_ws(', ', answer.merge_dtype, answer.generation ->> 'quantization');
    -- Workers with vLLM take none: it does not say how likely another token was. Without any worker the request waits.
    select string_agg(distinct case when w.versions ? 'vllm' then 'vLLM' else w.dtype end, '; ') into others
    from living_workers() w where w.base_model = answer.base_model
    having not bool_or(w.dtype = wanted and not w.versions ? 'vllm');
    if others is not null then
        raise exception using errcode = 'LX012', message = format(
            'it was answered by %s in %s, and the workers at hand compute in %s; start one in these numbers, or run loradex '
            'replay', answer.base_model, wanted, others);
    end if;
    delete from replays r where r.id in (
        select o.id from replays o where o.created_at < now() - interval '10 minutes' for update skip locked);
    if (select count(*) from replays r where r.owner_id = asking) >= most_of_owner
       or (select count(*) from replays) >= most_of_all then
        raise exception using errcode = 'LX008', message =
            'too many replays wait; take those that are there, or try again later';
    end if;
    insert into replays (id, owner_id, answer_id, base_model, numbers, created_at)
    values (made, asking, answer.id, answer.base_model, wanted, now());
    perform notify_workers();
    return made;
end
$$;
comment on function loradex.ask_replay(uuid) is
    'Asks for an answer of one''s own to be computed once more; returns the id that take_replay compares them for.';
revoke execute on function loradex.ask_replay(uuid) from public;
grant execute on function loradex.ask_replay(uuid) to loradex_client, loradex_admin;
