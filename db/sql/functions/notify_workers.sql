-- Tells workers that listen on loradex_work, at the commit, that jobs wait: once, however many a transaction adds. Nothing
-- is told while the queue of notifications is half full, which any session can fill: then Redis or a sweep finds them.
-- Locks: none. Raises: nothing.
create or replace function loradex.notify_workers() returns void
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('loradex_work', '');
    end if;
end
$$;
comment on function loradex.notify_workers() is
    'Notifies loradex_work that jobs wait, unless the queue of notifications is half full; internal.';
revoke execute on function loradex.notify_workers() from public;
