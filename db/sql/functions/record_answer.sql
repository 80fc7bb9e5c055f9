-- Writes an answer with everything that led to it, and ends its job: one transaction, once per job. The routing is the one
-- that route_jobs kept, the settings are the job's; of the rest only what can be true is taken (check_answer).
-- Locks: the job's row and its routing; then, until the transaction ends, the table chain_lock, so that answers are
-- chained one after the other. Call it in a READ COMMITTED transaction of its own, so that the lock is short.
-- Raises: LX001 incomplete or impossible answer, or another isolation; LX003 unknown job; LX006 the attempt is over, or
-- the claim is another's; LX010 its routing is gone, since Postgres crashed: release the job.
create or replace function loradex.record_answer(
    job_id uuid, attempt int, answer jsonb, token text default null
) returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    job jobs := fence_job(job_id, attempt, token);
    decided routings;
    fresh answers;
    -- The head of the chain.
    head record;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = 'LX001', message =
            'record_answer reads the newest link of the chain; call it in a READ COMMITTED transaction';
    end if;
    perform check_call_size(pg_column_size(record_answer.answer));
    delete from routings r where r.job_id = job.id and r.attempt = job.attempt returning r.* into decided;
    if not found then
        raise exception using errcode = 'LX010', message = format(
            'job %s has no routing for attempt %s; release it, and it is routed again', job.id, job.attempt);
    end if;
    perform check_answer(job, decided.routing, record_answer.answer);

    -- Of what the worker says, its own words and measurements; the rest is the job's, the routing's and the chain's.
    fresh := jsonb_populate_record(null::answers, (
        select jsonb_object_agg(s.key, s.value) from jsonb_each(record_answer.answer) s
        where s.key = any (array['text', 'choice', 'scores', 'token_ids', 'logprobs', 'prompt_tokens', 'output_tokens',
                                 'base_model_revision', 'timings', 'versions'])));
    fresh.job_id := job.id;
    fresh.owner_id := job.owner_id;
    fresh.owner := job.owner;
    fresh.attempt := job.attempt;
    fresh.worker := job.worker;
    fresh.prompt := job.prompt;
    fresh.messages := job.messages;
    fresh.choices := job.choices;
    fresh.stop := (select array_agg(s.one order by s.place)
                   from jsonb_array_elements_text(job.settings -> 'stop') with ordinality s(one, place));
    fresh.held_to := (select jsonb_object_agg(s.key, s.value) from jsonb_each(job.settings) s
                      where s.key in ('json_schema', 'regex'));
    fresh.base_model := job.base_model;
    fresh.generation := (record_answer.answer -> 'generation') - array['draws', 'prior']
        || (job.settings - array['stop', 'json_schema', 'regex'])
        || jsonb_build_object('kind', job.kind,
                              'seed', coalesce(job.settings -> 'seed', record_answer.answer #> '{generation,seed}'))
        || case when decided.routing -> 'draws' <> '[]' then jsonb_build_object('draws', decided.routing -> 'draws')
                else '{}' end
        || case when decided.routing ? 'prior' then jsonb_build_object('prior', decided.routing -> 'prior') else '{}' end;

    fresh.query := decided.query;
    select r.encoder, r.encoder_revision, r.k, r.top_p, r.temperature, r.exclude_tasks, r.exclude_adapters,
           r.examples_hash
    into fresh.encoder, fresh.encoder_revision, fresh.k, fresh.top_p, fresh.temperature, fresh.exclude_tasks,
         fresh.exclude_adapters, fresh.examples_hash
    from jsonb_populate_record(null::answers, decided.routing) r;
    fresh.routing_milliseconds := (decided.routing ->> 'milliseconds')::float8;
    select coalesce(array_agg(n.example_id), '{}'), coalesce(array_agg(n.source_ref), '{}'),
           coalesce(array_agg(n.task), '{}'), coalesce(array_agg(n.similarity), '{}')
    into fresh.example_ids, fresh.example_refs, fresh.example_tasks, fresh.similarities
    from (select * from jsonb_populate_recordset(null::retrieved_examples, decided.routing -> 'neighbours')
          order by rank) n;
    select coalesce(array_agg(t.task), '{}'), coalesce(array_agg(t.neighbours), '{}'),
           coalesce(array_agg(t.best_similarity), '{}'), coalesce(array_agg(t.probability), '{}'),
           coalesce(array_agg(t.weight), '{}'), coalesce(array_agg(t.in_nucleus), '{}')
    into fresh.tasks, fresh.task_neighbours, fresh.task_similarities, fresh.probabilities, fresh.task_weights,
         fresh.in_nucleus
    from (select * from jsonb_populate_recordset(null::retrieved_tasks, decided.routing -> 'distribution')
          order by rank) t;

    fresh.method := job.method;
    fresh.merge := decided.routing ->> 'merge';
    fresh.calibrated := (decided.routing ->> 'calibrated')::boolean;
    fresh.density := (job.settings ->> 'density')::float8;
    select decode(m.recipe_hash, 'hex'), m.dtype, m.update_norm, m.sign_conflict, m.milliseconds
    into fresh.recipe_hash, fresh.merge_dtype, fresh.update_norm, fresh.sign_conflict, fresh.merge_milliseconds
    from jsonb_populate_record(null::merge_results, record_answer.answer -> 'merge') m;
    select coalesce(array_agg(c.adapter_id), '{}'), coalesce(array_agg(c.adapter), '{}'),
           coalesce(array_agg(c.version), '{}'), coalesce(array_agg(c.task), '{}'),
           coalesce(array_agg(decode(c.sha256, 'hex')), '{}'), coalesce(array_agg(c.uri), '{}'),
           coalesce(array_agg(c.weight), '{}')
    into fresh.adapter_ids, fresh.adapters, fresh.adapter_versions, fresh.adapter_tasks, fresh.adapter_hashes,
         fresh.adapter_uris, fresh.weights
    from (select * from jsonb_populate_recordset(null::merge_components, decided.routing -> 'mixture')
          order by rank) c;
    fresh.adapter_norms := array(
        select n.norm::float8 from jsonb_array_elements(record_answer.answer #> '{merge,component_norms}')
            with ordinality n(norm, place) order by n.place);
    fresh.salt := uuid_send(gen_random_uuid());

    lock table loradex.chain_lock in exclusive mode;
    select h.position, h.chain_hash into head from chain_head() h;
    fresh.position := coalesce(head.position, 0) + 1;
    fresh.previous_hash := coalesce(head.chain_hash, decode(repeat('00', 32), 'hex'));
    fresh.created_at := clock_timestamp();
    fresh.id := uuidv7();
    fresh.chain_hash := answer_hash(fresh);
    perform make_partition(uuid_extract_timestamp(fresh.id));
    insert into answers select fresh.*;

    update jobs j set state = 'done', lease_until = null, finished_at = fresh.created_at, answer_id = fresh.id
    where j.id = job.id;
    perform notify_job(job.id);
    return fresh.id;
exception
    when data_exception or not_null_violation or check_violation or unique_violation then
        raise exception using errcode = 'LX001', message = format(
            'the answer of job %s cannot be recorded: %s; give every field of the answer', job_id, sqlerrm);
end
$$;
comment on function loradex.record_answer(uuid, int, jsonb, text) is
    'Writes an answer and all its provenance, chains it, ends its job and notifies loradex_jobs; returns its id.';
revoke execute on function loradex.record_answer(uuid, int, jsonb, text) from public;
grant execute on function loradex.record_answer(uuid, int, jsonb, text) to loradex_worker;
