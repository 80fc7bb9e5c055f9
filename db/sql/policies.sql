-- Clients see their own jobs and answers; the database user they logged in as decides, whatever role they took on.
alter table loradex.jobs enable row level security;
alter table loradex.answers enable row level security;
alter table loradex.retrievals enable row level security;
alter table loradex.retrieved_examples enable row level security;
alter table loradex.retrieved_tasks enable row level security;
alter table loradex.merge_results enable row level security;
alter table loradex.merge_components enable row level security;

create policy own_jobs on loradex.jobs for select to loradex_client using (owner_id = (select loradex.current_owner()));
create policy own_answers on loradex.answers for select to loradex_client using (owner_id = (select loradex.current_owner()));

do $$
declare
    evidence text;
begin
    foreach evidence in array array[
        'retrievals', 'retrieved_examples', 'retrieved_tasks', 'merge_results', 'merge_components'] loop
        execute format(
            'create policy own_answers on loradex.%I for select to loradex_client using '
            '(exists (select from loradex.answers where id = answer_id and owner_id = (select loradex.current_owner())))', evidence);
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
