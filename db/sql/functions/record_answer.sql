-- Writes an answer with everything that led to it, and ends its job: one transaction, once per job. The routing is the one
-- that route_jobs kept, the settings are the job's; of the rest only what can be true is taken (check_answer).
-- Locks: the job's row and its routing; then, until the transaction ends, the table chain_lock, so that answers are
-- chained one after the other. Call it in a READ COMMITTED transaction of its own, so that the lock is short.
-- Raises: LX001 incomplete or impossible answer, or another isolation; LX003 unknown job; LX006 the attempt is over, or the claim is another's;
-- LX010 its routing is gone, since Postgres crashed: release the job.
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
    head answers;
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

    fresh := jsonb_populate_record(null::answers, record_answer.answer);
    fresh.id := gen_random_uuid();
    fresh.job_id := job.id;
    fresh.owner_id := job.owner_id;
    fresh.owner := job.owner;
    fresh.attempt := job.attempt;
    fresh.worker := job.worker;
    fresh.prompt := job.prompt;
    fresh.base_model := job.base_model;
    fresh.generation := (record_answer.answer -> 'generation') - 'draws' || job.settings
        || jsonb_build_object('kind', job.kind, 'choices', to_jsonb(job.choices),
                              'seed', coalesce(job.settings -> 'seed', record_answer.answer #> '{generation,seed}'))
        || case when decided.routing -> 'draws' <> '[]' then jsonb_build_object('draws', decided.routing -> 'draws')
                else '{}' end;

    insert into retrievals
    select fresh.id, decided.query, r.encoder, r.encoder_revision, r.k, r.top_p, r.temperature, r.exclude_tasks,
           r.exclude_adapters, r.milliseconds, r.examples_hash
    from jsonb_populate_record(null::retrievals, decided.routing) r;

    insert into retrieved_examples
    select fresh.id, n.rank, n.example_id, n.source_ref, n.task, n.similarity
    from jsonb_populate_recordset(null::retrieved_examples, decided.routing -> 'neighbours') n;

    insert into retrieved_tasks
    select fresh.id, t.rank, t.task, t.neighbours, t.best_similarity, t.probability, t.weight, t.in_nucleus
    from jsonb_populate_recordset(null::retrieved_tasks, decided.routing -> 'distribution') t;

    insert into merge_results
    select fresh.id, m.recipe_hash, job.method, decided.routing ->> 'merge',
           (decided.routing ->> 'calibrated')::boolean, (job.settings ->> 'density')::float8, m.dtype, m.update_norm,
           m.sign_conflict, m.milliseconds
    from jsonb_populate_record(null::merge_results, record_answer.answer -> 'merge') m;

    insert into merge_components
    select fresh.id, c.rank, c.adapter_id, c.adapter, c.version, c.task, c.sha256, c.uri, c.weight,
           (record_answer.answer #>> array['merge', 'component_norms', (c.rank - 1)::text])::float8
    from jsonb_populate_recordset(null::merge_components, decided.routing -> 'mixture') c;

    lock table loradex.chain_lock in exclusive mode;
    select a.* into head from answers a order by a.position desc limit 1;
    fresh.position := coalesce(head.position, 0) + 1;
    fresh.previous_hash := coalesce(head.chain_hash, decode(repeat('00', 32), 'hex'));
    fresh.created_at := clock_timestamp();
    fresh.chain_hash := answer_hash(fresh);
    insert into answers select fresh.*;

    update jobs j set state = 'done', lease_until = null, finished_at = fresh.created_at where j.id = job.id;
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
