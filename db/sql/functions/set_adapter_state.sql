-- Activates or retires an adapter. Activated, it takes the share it is given: 1 retires those that were active for its
-- task and base model, less leaves them the rest. Retired, what it had goes to the others in proportion.
-- Without a version, retiring takes the active one and activating the newest.
-- Locks: state changes of one task wait for each other. Raises: LX001 unknown state, bad share, or several versions to
-- choose from; LX002 unknown adapter, or none of its versions is active.
create or replace function loradex.set_adapter_state(name text, version int, state text, share float8 default 1)
returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    chosen adapters;
    active int[];
begin
    if coalesce(state, '') not in ('active', 'retired') then
        raise exception using errcode = 'LX001', message = 'an adapter''s state is set to active or retired';
    end if;
    select a.* into chosen from adapters a
    where a.name = set_adapter_state.name
      and (set_adapter_state.version is null or a.version = set_adapter_state.version)
    order by a.version desc
    limit 1;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no adapter %s%s; see `loradex adapter list`', shown(name),
            coalesce(' version ' || version, ''));
    end if;
    perform from tasks t where t.name = chosen.task for no key update;
    if state = 'active' then
        perform activate_adapter(chosen.id, share);
        return chosen.id;
    end if;
    if version is null then
        active := array(select a.version from adapters a
                        where a.name = chosen.name and a.state = 'active' order by a.version);
        if cardinality(active) = 0 then
            raise exception using errcode = 'LX002', message = format(
                'no version of adapter %s is active; see `loradex adapter list --all`', shown(name));
        end if;
        if cardinality(active) > 1 then
            raise exception using errcode = 'LX001', message = format(
                'versions %s of adapter %s are active; say which', array_to_string(active, ', '), shown(name));
        end if;
    end if;
    select a.* into chosen from adapters a
    where a.name = chosen.name and a.version = coalesce(set_adapter_state.version, active[1]);
    if chosen.state <> 'retired' then
        update adapters a set state = 'retired', share = 0, retired_at = now() where a.id = chosen.id;
        update adapters a set share = a.share / (
            select sum(b.share) from adapters b
            where b.base_model = chosen.base_model and b.task = chosen.task and b.state = 'active')
        where a.base_model = chosen.base_model and a.task = chosen.task and a.state = 'active';
    end if;
    return chosen.id;
end
$$;
comment on function loradex.set_adapter_state(text, int, text, float8) is
    'Activates an adapter with its share of its task, or retires it (version null: the newest, or the active one).';
revoke execute on function loradex.set_adapter_state(text, int, text, float8) from public;
grant execute on function loradex.set_adapter_state(text, int, text, float8) to loradex_admin;
