-- Registers an adapter. As active it takes the share it is given: 1 retires those that were active for its task and
-- base model, less leaves them the rest. As staged it answers nothing until it is activated. The same content again
-- returns the older row and changes nothing but its place, where another is named: the content hash says that the files
-- are the same. Without a version it takes the next of its name. Where a root is named, a living worker of the base model
-- must have announced it, if any lives: else nobody could read the files, and those that are known stay where they are.
-- Locks: registrations of one task wait for each other. Raises: LX001 bad value, the version is taken, or another task
-- takes the name at the same moment; LX002 unknown task or base model. LX001 too where no living worker reads the root.
create or replace function loradex.register_adapter(
    name text,
    task text,
    base_model text,
    sha256 text,
    uri text,
    rank int,
    alpha float8,
    target_modules text[],
    dtype text,
    parameters bigint,
    update_norm float8,
    card jsonb default '{}',
    version int default null,
    state text default 'active',
    share float8 default 1,
    trained_on text[] default '{}',
    root text default null
) returns table (adapter_id bigint, adapter_version int, created boolean)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    known adapters;
    chosen int;
    stranger text;
begin
    if not exists (select from tasks t where t.name = register_adapter.task) then
        raise exception using errcode = 'LX002', message = format(
            'no task %s; known are: %s', shown(task),
            coalesce((select string_agg(t.name, ', ' order by t.name) from tasks t), 'none yet'));
    end if;
    if not exists (select from base_models b where b.name = register_adapter.base_model) then
        raise exception using errcode = 'LX002', message = format(
            'no base model %s; known are: %s', shown(base_model),
            coalesce((select string_agg(b.name, ', ' order by b.name) from base_models b), 'none yet'));
    end if;
    if coalesce(name, '') !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$' then
        raise exception using errcode = 'LX001', message =
            'an adapter''s name is letters, digits, . _ or -, and begins with a letter or digit';
    end if;
    if coalesce(sha256, '') !~ '^[0-9a-f]{64}$' then
        raise exception using errcode = 'LX001', message = 'sha256 must be 64 small hexadecimal digits';
    end if;
    if coalesce(uri, '') = '' or length(uri) > 4096 or length(dtype) > 20 or pg_column_size(card) > 10000000
       or cardinality(target_modules) > 10000 or pg_column_size(target_modules) > 1000000 or coalesce(rank, 0) < 1 or coalesce(parameters, 0) < 1 or coalesce(dtype, '') = ''
       or coalesce(cardinality(target_modules), 0) = 0 or coalesce(jsonb_typeof(card), '') <> 'object'
       or coalesce(version, 1) < 1
       or (alpha > 0 and alpha < 'infinity' and update_norm >= 0 and update_norm < 'infinity') is not true then
        raise exception using errcode = 'LX001', message =
            'an adapter needs a uri, a dtype, target modules, a card, rank, parameters and version of 1 or more, '
            'a finite alpha above 0 and a finite update_norm';
    end if;

    if coalesce(state, '') not in ('active', 'staged') or (state = 'staged' and share <> 1) then
        raise exception using errcode = 'LX001', message =
            'an adapter is registered as active or staged; a staged one gets its share when it is activated';
    end if;
    if trained_on is null then
        raise exception using errcode = 'LX001', message = 'trained_on must be an array; give ''{}'' for its own task alone';
    end if;
    perform check_names('trained_on', trained_on);
    select given.name into stranger from unnest(trained_on) given(name)
    where not exists (select from tasks t where t.name = given.name) limit 1;
    if found then
        raise exception using errcode = 'LX002', message = format(
            'trained_on names no task %s; known are those of loradex.tasks', shown(stranger));
    end if;

    perform from tasks t where t.name = register_adapter.task for no key update;
    select a.* into known from adapters a
    where a.base_model = register_adapter.base_model and a.task = register_adapter.task
      and a.sha256 = register_adapter.sha256;
    if found and known.uri = register_adapter.uri then
        return query select known.id, known.version, false;
        return;
    end if;
    if known.id is null and exists (
        select from adapters a where a.name = register_adapter.name
        and (a.task, a.base_model) <> (register_adapter.task, register_adapter.base_model)) then
        raise exception using errcode = 'LX001', message = format(
            'adapter %s belongs to another task or base model; choose another name', name);
    end if;
    -- Where nobody reads, the files that are known stay where they are looked for.
    if root is not null
       and not exists (select from living_workers() w
                       where w.base_model = register_adapter.base_model and root = any (w.adapter_roots))
       and exists (select from living_workers() w where w.base_model = register_adapter.base_model) then
        if known.id is not null then
            return query select known.id, known.version, false;
            return;
        end if;
        raise exception using errcode = 'LX001', message = format(
            'no living worker reads adapters below %s: put it below one of %s, or start the workers with '
            'LORADEX_ADAPTER_ROOTS=%s (`loradex up` does) and register it again', shown(root),
            (select string_agg(distinct shown(r.root), ', ') from living_workers() w
             cross join unnest(w.adapter_roots) r(root) where w.base_model = register_adapter.base_model), root);
    end if;
    if known.id is not null then
        update adapters a set uri = register_adapter.uri where a.id = known.id;
        return query select known.id, known.version, false;
        return;
    end if;
    chosen := coalesce(version, (select coalesce(max(a.version), 0) + 1 from adapters a
                                 where a.name = register_adapter.name));
    if exists (select from adapters a where a.name = register_adapter.name and a.version = chosen) then
        raise exception using errcode = 'LX001', message = format(
            'adapter %s has a version %s already, with other content; leave the version out', name, chosen);
    end if;
    begin
        insert into adapters as a (name, version, task, base_model, sha256, uri, rank, alpha, target_modules, dtype,
                                   parameters, update_norm, card, trained_on)
        values (register_adapter.name, chosen, register_adapter.task, register_adapter.base_model,
                register_adapter.sha256, register_adapter.uri, register_adapter.rank, register_adapter.alpha,
                register_adapter.target_modules, register_adapter.dtype, register_adapter.parameters,
                register_adapter.update_norm, register_adapter.card,
                array_remove(register_adapter.trained_on, register_adapter.task))
        returning a.* into known;
    exception when unique_violation then
        -- Its transaction ended after this one had looked.
        raise exception using errcode = 'LX001', message = format(
            'adapter %s was registered for another task or base model at the same moment; choose another name', name);
    end;
    if register_adapter.state = 'active' then
        perform activate_adapter(known.id, register_adapter.share);
    end if;
    return query select known.id, known.version, true;
end
$$;
comment on function loradex.register_adapter(
    text, text, text, text, text, int, float8, text[], text, bigint, float8, jsonb, int, text, float8, text[], text) is
    'Registers an adapter, as active with its share of the task or staged; the same content again only changes its place.';
revoke execute on function loradex.register_adapter(
    text, text, text, text, text, int, float8, text[], text, bigint, float8, jsonb, int, text, float8, text[], text) from public;
grant execute on function loradex.register_adapter(
    text, text, text, text, text, int, float8, text[], text, bigint, float8, jsonb, int, text, float8, text[], text) to loradex_admin;
