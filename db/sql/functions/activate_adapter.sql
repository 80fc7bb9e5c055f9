-- Makes an adapter active with its share of its task. A share of 1 retires the others; a smaller one leaves them the
-- rest, each in proportion to what it had. Where there are no others, all of the task is its.
-- Locks: the rows of the task's active adapters; its callers lock the task. Raises: LX001 bad share.
create or replace function loradex.activate_adapter(adapter_id bigint, share float8) returns void
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    chosen adapters := (select a from adapters a where a.id = activate_adapter.adapter_id);
    -- What the others have together; null if there are none.
    held float8;
begin
    if (share = 1 or share between 0.0001 and 0.9999) is not true then
        raise exception using errcode = 'LX001', message =
            'a share is a number from 0.0001 to 0.9999, or 1: all of the task, which retires its other adapters';
    end if;
    if share = 1 then
        update adapters a set state = 'retired', share = 0, retired_at = now()
        where a.base_model = chosen.base_model and a.task = chosen.task and a.state = 'active' and a.id <> chosen.id;
    else
        select sum(a.share) into held from adapters a
        where a.base_model = chosen.base_model and a.task = chosen.task and a.state = 'active' and a.id <> chosen.id;
        update adapters a set share = greatest(a.share / held * (1 - activate_adapter.share), 1e-9)
        where a.base_model = chosen.base_model and a.task = chosen.task and a.state = 'active' and a.id <> chosen.id;
    end if;
    update adapters a
    set state = 'active', retired_at = null, share = case when held is null then 1 else activate_adapter.share end
    where a.id = chosen.id;
end
$$;
comment on function loradex.activate_adapter(bigint, float8) is
    'Makes an adapter active with its share of its task, and retires the others or leaves them the rest; internal.';
revoke execute on function loradex.activate_adapter(bigint, float8) from public;
