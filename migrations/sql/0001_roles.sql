-- The four roles. They are cluster-wide and shared by all databases of a cluster, so making them again is no error,
-- not even when two databases are migrated at the same moment. They may log in, but have no password until an
-- operator sets one; members of a role inherit its rights.
do $$
declare
    wanted text;
begin
    foreach wanted in array array['loradex_reader', 'loradex_client', 'loradex_worker', 'loradex_admin'] loop
        if not exists (select from pg_roles where rolname = wanted) then
            begin
                execute format('create role %I login nosuperuser nocreatedb nocreaterole', wanted);
            exception
                when duplicate_object or unique_violation then null;
                when insufficient_privilege then
                    raise insufficient_privilege using message = format(
                        'role %s is missing and this user may not create it: '
                        'give it CREATEROLE, or create the four roles of db/sql/roles.sql beforehand', wanted);
            end;
        end if;
    end loop;
end
$$;

revoke all on schema loradex from public;
grant usage on schema loradex to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- The catalogue and the evidence, to look at.
grant select on
    loradex.base_models, loradex.encoders, loradex.tasks, loradex.methods, loradex.adapters, loradex.examples
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
grant select on loradex.example_embeddings, loradex.evaluations, loradex.limits
    to loradex_reader, loradex_worker, loradex_admin;
grant select on
    loradex.jobs, loradex.answers, loradex.retrievals, loradex.retrieved_examples, loradex.retrieved_tasks,
    loradex.merge_results, loradex.merge_components
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- The administrator fills the library. Jobs, answers and their evidence are written by functions alone.
grant insert on loradex.examples, loradex.example_embeddings, loradex.evaluations to loradex_admin;
grant update (prompt, target) on loradex.examples to loradex_admin;
grant delete on loradex.examples, loradex.example_embeddings to loradex_admin;
grant update (max_waiting_jobs, max_jobs_per_call, max_prompt_characters, max_choices, max_new_tokens)
    on loradex.limits to loradex_admin;

-- Clients see their own jobs and answers; the database user they logged in as decides, whatever role they took on.
alter table loradex.jobs enable row level security;
alter table loradex.answers enable row level security;
alter table loradex.retrievals enable row level security;
alter table loradex.retrieved_examples enable row level security;
alter table loradex.retrieved_tasks enable row level security;
alter table loradex.merge_results enable row level security;
alter table loradex.merge_components enable row level security;

create policy own_jobs on loradex.jobs for select to loradex_client using (owner = session_user);
create policy own_answers on loradex.answers for select to loradex_client using (owner = session_user);

do $$
declare
    evidence text;
begin
    foreach evidence in array array[
        'retrievals', 'retrieved_examples', 'retrieved_tasks', 'merge_results', 'merge_components'] loop
        execute format(
            'create policy own_answers on loradex.%I for select to loradex_client using '
            '(exists (select from loradex.answers where id = answer_id and owner = session_user))', evidence);
    end loop;
    foreach evidence in array array[
        'jobs', 'answers', 'retrievals', 'retrieved_examples', 'retrieved_tasks', 'merge_results',
        'merge_components'] loop
        execute format(
            'create policy all_rows on loradex.%I for select to loradex_reader, loradex_worker, loradex_admin '
            'using (true)', evidence);
    end loop;
end
$$;
