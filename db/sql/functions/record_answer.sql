-- Writes an answer with everything that led to it, and ends its job: one transaction, once per job.
-- `routing` is the document of route_jobs, unchanged.
-- Locks: the job's row; then, until the transaction ends, the one advisory lock of the chain, so that answers are
-- chained one after the other. Call it in a transaction of its own, READ COMMITTED, so that the lock is short.
-- Raises: LX001 incomplete document; LX003 unknown job; LX005 bad vector; LX006 the attempt is over.
create or replace function loradex.record_answer(
    job_id uuid, attempt int, query public.vector, routing jsonb, answer jsonb
) returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    job jobs := fence_job(job_id, attempt);
    fresh answers;
    -- The head of the chain.
    head answers;
begin
    perform check_vector(query, routing ->> 'encoder');

    fresh := jsonb_populate_record(null::answers, answer);
    fresh.id := gen_random_uuid();
    fresh.job_id := job.id;
    fresh.owner := job.owner;
    fresh.attempt := job.attempt;
    fresh.prompt := job.prompt;
    fresh.base_model := job.base_model;

    insert into retrievals
    select fresh.id, record_answer.query, r.encoder, r.encoder_revision, r.k, r.top_p, r.temperature, r.exclude_tasks,
           r.exclude_adapters, r.milliseconds
    from jsonb_populate_record(null::retrievals, routing) r;

    insert into retrieved_examples
    select fresh.id, n.rank, n.example_id, n.source_ref, n.task, n.similarity
    from jsonb_populate_recordset(null::retrieved_examples, routing -> 'neighbours') n;

    insert into retrieved_tasks
    select fresh.id, t.rank, t.task, t.neighbours, t.best_similarity, t.probability, t.weight, t.in_nucleus
    from jsonb_populate_recordset(null::retrieved_tasks, routing -> 'distribution') t;

    insert into merge_results
    select fresh.id, m.recipe_hash, job.method, m.density, m.dtype, m.update_norm, m.sign_conflict, m.milliseconds
    from jsonb_populate_record(null::merge_results, answer -> 'merge') m;

    insert into merge_components
    select fresh.id, c.rank, c.adapter_id, c.adapter, c.version, c.task, c.sha256, c.uri, c.weight, p.update_norm
    from jsonb_populate_recordset(null::merge_components, routing -> 'mixture') c
    left join jsonb_populate_recordset(null::merge_components, answer #> '{merge,components}') p
        on p.adapter_id = c.adapter_id;

    perform pg_advisory_xact_lock(hashtext('loradex'), hashtext('answer chain'));
    select a.* into head from answers a order by a.position desc limit 1;
    fresh.position := coalesce(head.position, 0) + 1;
    fresh.previous_hash := coalesce(head.chain_hash, decode(repeat('00', 32), 'hex'));
    fresh.created_at := clock_timestamp();
    fresh.chain_hash := answer_hash(fresh);
    insert into answers select fresh.*;

    update jobs j set state = 'done', lease_until = null, finished_at = fresh.created_at where j.id = job.id;
    perform pg_notify('loradex_jobs', job.id::text);
    return fresh.id;
exception
    when data_exception or not_null_violation or check_violation or unique_violation then
        raise exception using errcode = 'LX001', message = format(
            'the answer of job %s cannot be recorded: %s; give routing as route_jobs returned it and every field of '
            'the answer', job_id, sqlerrm);
end
$$;
comment on function loradex.record_answer(uuid, int, public.vector, jsonb, jsonb) is
    'Writes an answer and all its provenance, chains it, ends its job and notifies loradex_jobs; returns its id.';
revoke execute on function loradex.record_answer(uuid, int, public.vector, jsonb, jsonb) from public;
grant execute on function loradex.record_answer(uuid, int, public.vector, jsonb, jsonb) to loradex_worker;
