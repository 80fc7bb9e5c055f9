-- Retires or activates an adapter; activating one retires the one that was active for its task and base model.
-- Without a version, retiring takes the active one and activating the newest.
-- Locks: state changes of one task wait for each other. Raises: LX001 unknown state; LX002 unknown adapter.
create or replace function loradex.set_adapter_state(name text, version int, state text) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    chosen adapters;
begin
    if coalesce(state, '') not in ('active', 'retired') then
        raise exception using errcode = 'LX001', message = 'an adapter''s state is active or retired';
    end if;
    select a.* into chosen from adapters a
    where a.name = set_adapter_state.name
      and (set_adapter_state.version is null or a.version = set_adapter_state.version)
    order by (set_adapter_state.state = 'retired' and a.state = 'active') desc, a.version desc
    limit 1;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no adapter %s%s; see `loradex adapter list`', shown(name),
            coalesce(' version ' || version, ''));
    end if;
    perform from tasks t where t.name = chosen.task for no key update;
    if state = 'active' then
        update adapters a set state = 'retired', retired_at = now()
        where a.base_model = chosen.base_model and a.task = chosen.task and a.state = 'active' and a.id <> chosen.id;
        update adapters a set state = 'active', retired_at = null where a.id = chosen.id and a.state = 'retired';
    else
        update adapters a set state = 'retired', retired_at = now() where a.id = chosen.id and a.state = 'active';
    end if;
    return chosen.id;
end
$$;
comment on function loradex.set_adapter_state(text, int, text) is
    'Retires or activates an adapter (version null: the active or the newest one); returns its id.';
revoke execute on function loradex.set_adapter_state(text, int, text) from public;
grant execute on function loradex.set_adapter_state(text, int, text) to loradex_admin;
