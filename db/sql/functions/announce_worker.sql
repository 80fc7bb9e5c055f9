-- Says that a worker lives, and what it can do. A worker calls it at its start and every few seconds; a worker that is
-- silent for longer than the setting worker_silence_seconds counts as gone. Then its name is its login's again: a worker
-- that was killed and is started anew under a fixed name has another token. Jobs that the gone one claimed stay bound to
-- its own token. Rows of workers that were silent for a day are removed on the way, and anybody may take their names.
-- Locks: the worker's row. Raises: LX001 a bad value, a name that is another worker's, too many workers of one login.
create or replace function loradex.announce_worker(
    worker text, base_model text, encoder text, device text, dtype text, adapter_roots text[], batch_rows int,
    versions jsonb, token text default null
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    mine bytea := claim_hash(token);
    most int := (select s.value from settings s where s.name = 'max_workers');
    silence interval := (
        select make_interval(secs => s.value::float8) from settings s where s.name = 'worker_silence_seconds');
    complaint text := case
        when exists (
            select from unnest(array[worker, announce_worker.base_model, announce_worker.encoder,
                                     announce_worker.device, announce_worker.dtype]) t(said)
            where coalesce(length(t.said), 0) not between 1 and 200)
            then 'worker, base_model, encoder, device and dtype are texts of 1 to 200 characters'
        when announce_worker.adapter_roots is null or cardinality(announce_worker.adapter_roots) > 100 or exists (
            select from unnest(announce_worker.adapter_roots) r(root)
            where coalesce(length(r.root), 0) not between 1 and 4096)
            then 'adapter_roots are at most 100 texts of 1 to 4096 characters'
        when coalesce(announce_worker.batch_rows, 0) < 1 then 'batch_rows is 1 or more'
        when jsonb_typeof(announce_worker.versions) is distinct from 'object'
             or pg_column_size(announce_worker.versions) > 10000
             or exists (select from jsonb_each(announce_worker.versions) v where jsonb_typeof(v.value) <> 'string')
            then 'versions is an object of texts, of at most 10000 bytes'
        end;
begin
    if complaint is not null then
        raise exception using errcode = 'LX001', message = format('a worker cannot be announced so: %s', complaint);
    end if;

    -- Judged by the row itself, which is read anew if it was waited for: a worker may speak in that moment.
    update workers w
    set claim_hash = mine, started_at = case when w.claim_hash = mine then w.started_at else now() end,
        base_model = announce_worker.base_model, encoder = announce_worker.encoder, device = announce_worker.device,
        dtype = announce_worker.dtype, adapter_roots = announce_worker.adapter_roots,
        batch_rows = announce_worker.batch_rows, versions = announce_worker.versions, seen_at = now()
    where w.name = worker
      and (w.claim_hash = mine or (w.login = session_user and w.seen_at <= now() - silence));
    if found then
        return;
    end if;

    delete from workers w where w.seen_at < now() - interval '1 day';
    if (select count(*) from workers w where w.login = session_user) >= most then
        raise exception using errcode = 'LX001', message = format(
            '%s workers of %s are announced, and no more may be (setting max_workers)', most, session_user);
    end if;
    insert into workers (name, login, claim_hash, base_model, encoder, device, dtype, adapter_roots, batch_rows, versions)
    values (worker, session_user, mine, announce_worker.base_model, announce_worker.encoder, announce_worker.device,
            announce_worker.dtype, announce_worker.adapter_roots, announce_worker.batch_rows, announce_worker.versions);
exception
    when unique_violation then
        raise exception using errcode = 'LX001', message = format(
            'another worker is announced as %s; give each a name of its own (once that one was silent for '
            'worker_silence_seconds, its login may take the name)', shown(worker));
end
$$;
comment on function loradex.announce_worker(text, text, text, text, text, text[], int, jsonb, text) is
    'Says that a worker lives, with what it can do; called every few seconds.';
revoke execute on function
    loradex.announce_worker(text, text, text, text, text, text[], int, jsonb, text) from public;
grant execute on function
    loradex.announce_worker(text, text, text, text, text, text[], int, jsonb, text) to loradex_worker;
