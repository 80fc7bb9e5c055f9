-- Clients see their own jobs and answers; the database user they logged in as decides, whatever role they took on. The
-- partitions of answers need no policies of their own: no role has a right on them.
alter table loradex.jobs enable row level security;
alter table loradex.answers enable row level security;

create policy own_jobs on loradex.jobs for select to loradex_client using (owner_id = (select loradex.current_owner()));
create policy own_answers on loradex.answers for select to loradex_client using (owner_id = (select loradex.current_owner()));
create policy all_rows on loradex.jobs for select to loradex_reader, loradex_worker, loradex_admin using (true);
create policy all_rows on loradex.answers for select to loradex_reader, loradex_worker, loradex_admin using (true);

-- Ratings likewise.
alter table loradex.feedback enable row level security;
create policy own_feedback on loradex.feedback for select to loradex_client
    using (owner_id = (select loradex.current_owner()));
create policy all_rows on loradex.feedback for select to loradex_reader, loradex_worker, loradex_admin using (true);
