-- The row of loradex.jobs that a JSON object asks for: defaults filled in, whole numbers without a fraction, and what has
-- no column of its own gathered in `settings`.
-- Locks: none. Raises: nothing; check_jobs has read the object before.
create or replace function loradex.complete_job(
    job_id uuid, job jsonb, defaults jsonb, columns text[]
) returns loradex.jobs
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    complete jsonb := defaults || jsonb_strip_nulls(job)
        || coalesce((select jsonb_object_agg(s.name, trim_scale((job ->> s.name)::numeric))
                     from settings s where s.type = 'integer' and s.kind = 'job' and job -> s.name <> 'null'), '{}')
        || jsonb_build_object('kind', case when job -> 'choices' <> 'null' then 'choose' else 'generate' end);
    made jobs;
begin
    made.id := job_id;
    made.owner := session_user;
    made.state := 'queued';
    made.attempt := 0;
    made.releases := 0;
    made.created_at := now();
    made.settings := complete - columns;
    return jsonb_populate_record(made, complete);
end
$$;
comment on function loradex.complete_job(uuid, jsonb, jsonb, text[]) is
    'The row of loradex.jobs a JSON object asks for, defaults filled in; internal.';
revoke execute on function loradex.complete_job(uuid, jsonb, jsonb, text[]) from public;
