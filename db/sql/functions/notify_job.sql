-- Tells whoever listens that a job has ended. Nothing is told while the queue of notifications is half full, which any
-- session can fill: then waiters find out when they look again, and no answer fails for it.
-- Locks: none. Raises: nothing.
create or replace function loradex.notify_job(job_id uuid, channel text default 'loradex_jobs') returns void
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify(channel, job_id::text);
    end if;
end
$$;
comment on function loradex.notify_job(uuid, text) is
    'Notifies a channel that a job has ended, unless the queue of notifications is half full; internal.';
revoke execute on function loradex.notify_job(uuid, text) from public;
