-- Erases what can be erased of jobs and their answers (answer_erasable), and leaves a note in the chain that says which
-- answers, why and by whom. No message of a job stays, which may quote its question or name somebody. The owner's name
-- does, in the job as in the answer, where the chain covers it. Jobs that wait or are being answered end as failed,
-- with the code `erased`, and the workers that have them in hand are told. At most at_most jobs are taken at a time: call
-- it until it says 0, which it does only when none is left. What Postgres keeps of old rows goes with the next vacuum.
-- Locks: the jobs' rows and their routings; then, until the transaction ends, the table chain_lock, as record_answer.
-- Raises: LX001 no reason, nothing asked for, or another isolation.
create or replace function loradex.erase_jobs(
    reason text,
    asked_by text,
    job_ids uuid[] default null,
    owner_id bigint default null,
    before timestamptz default null,
    at_most int default 500
) returns table (jobs int, answers int)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    now constant timestamptz := clock_timestamp();
    candidates uuid[];
    erased_jobs uuid[];
    note erasures;
    head record;
    job jobs;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = 'LX001', message =
            'erase_jobs reads the newest link of the chain; call it in a READ COMMITTED transaction';
    end if;
    if coalesce(trim(reason), '') = '' or length(reason) > 1000 or coalesce(trim(asked_by), '') = ''
       or length(asked_by) > 200 or coalesce(at_most, 0) not between 1 and 10000 then
        raise exception using errcode = 'LX001', message =
            'erasing needs a reason of at most 1000 characters, who asked for it in at most 200, and 1 to 10000 jobs';
    end if;

    loop
        candidates := array(
            select f.job_id
            from jobs_to_erase(erase_jobs.job_ids, erase_jobs.owner_id, erase_jobs.before, at_most) f);
        erased_jobs := array(
            select j.id from jobs j where j.id = any (candidates) and j.erased_at is null order by j.id for update);
        -- All candidates may be gone once they are locked, if another erasure or drop_archived came first. Others are left.
        exit when cardinality(candidates) = 0 or cardinality(erased_jobs) > 0;
    end loop;
    for job in select j.* from jobs j where j.id = any (erased_jobs) and j.state in ('queued', 'running') loop
        perform end_job(job, 'failed', 'erased', 'its question was erased before it was answered', now);
    end loop;
    -- Vectors of questions, should a route_jobs have kept one just after its job ended.
    delete from routings r where r.job_id = any (erased_jobs);
    update jobs j
    set prompt = '', messages = null, choices = case when j.choices is not null then '{}'::text[] end, idempotency_key = null,
        asked = null,
        metadata = null, traceparent = null, settings = j.settings - array['stop', 'json_schema', 'regex'],
        pieces_key = null, cancelled_by = case when j.cancelled_by is not null then 'erased' end,
        error_message = case when j.error_code = 'erased' then j.error_message
                             when j.error_code is not null then 'erased' end,
        erased_at = now
    where j.id = any (erased_jobs);

    with emptied as (
        update answers a
        set prompt = null, messages = null, choices = null, stop = null, held_to = null, text = null, choice = null, token_ids = null, logprobs = null,
            query = null, salt = null, commitments = answer_commitments(a)
        where a.id in (select j.answer_id from jobs j where j.id = any (erased_jobs)) and a.commitments is null
        returning a.id
    )
    select coalesce(array_agg(e.id order by e.id), '{}') into note.answers from emptied e;
    if cardinality(note.answers) > 0 then
        lock table loradex.chain_lock in exclusive mode;
        select * into head from chain_head();
        note.id := uuidv7();
        note.position := head.position + 1;
        note.reason := erase_jobs.reason;
        note.asked_by := erase_jobs.asked_by;
        note.login := session_user;
        note.created_at := clock_timestamp();
        note.previous_hash := head.chain_hash;
        note.chain_hash := sha256(note.previous_hash || convert_to(erasure_canonical(note), 'UTF8'));
        insert into erasures select note.*;
    end if;
    return query select cardinality(erased_jobs), cardinality(note.answers);
end
$$;
comment on function loradex.erase_jobs(text, text, uuid[], bigint, timestamptz, int) is
    'Erases texts and vectors of jobs and their answers, and leaves a chained note; returns how many.';
revoke execute on function loradex.erase_jobs(text, text, uuid[], bigint, timestamptz, int) from public;
grant execute on function loradex.erase_jobs(text, text, uuid[], bigint, timestamptz, int) to loradex_admin;
