-- Whether an active adapter is the one of its task that answers a job: none of the others that the job allows drew a
-- smaller number. What the job excludes takes no part in the race: adapters by name, and those trained on excluded tasks.
-- Whether the adapter itself is allowed is its caller's to look at.
-- Ask it only where the adapter's share is less than 1; it reads the task's active adapters.
-- Locks: none. Raises: nothing.
create or replace function loradex.is_drawn(
    adapter loradex.adapters, job_id uuid, exclude_adapters text[], exclude_tasks text[]
) returns boolean
language sql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select not exists (
        select from adapters rival
        where rival.base_model = adapter.base_model and rival.task = adapter.task and rival.state = 'active'
          and rival.id <> adapter.id and rival.name <> all (exclude_adapters)
          and not rival.trained_on && exclude_tasks
          and (adapter_draw(is_drawn.job_id, rival.sha256::text, rival.share), rival.id)
              < (adapter_draw(is_drawn.job_id, adapter.sha256::text, adapter.share), adapter.id))
$$;
comment on function loradex.is_drawn(loradex.adapters, uuid, text[], text[]) is
    'Whether an adapter that shares its task is the one that answers a job; internal.';
revoke execute on function loradex.is_drawn(loradex.adapters, uuid, text[], text[]) from public;
grant execute on function loradex.is_drawn(loradex.adapters, uuid, text[], text[])
    to loradex_reader, loradex_worker, loradex_admin;
