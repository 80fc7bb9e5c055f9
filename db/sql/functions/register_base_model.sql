-- Makes a base model known. Registering it again changes nothing, but that a retired one is back in service.
-- Locks: none. Raises: LX001 bad value, or known with other facts.
create or replace function loradex.register_base_model(
    name text, revision text, context_length int, frame text default E'{prompt}\nAnswer:'
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    known base_models;
begin
    if coalesce(name, '') !~ '^[^[:cntrl:]]{1,200}$' or coalesce(revision, '') = '' or length(revision) > 200
       or coalesce(context_length, 0) < 1 or octet_length(frame) > 100000
       or coalesce(position('{prompt}' in frame), 0) = 0 then
        raise exception using errcode = 'LX001', message =
            'a base model needs a name and a revision of at most 200 characters, a context length above 0 and a frame of '
            'at most 100,000 bytes that holds {prompt}';
    end if;
    insert into base_models (name, revision, context_length, frame)
    values (register_base_model.name, register_base_model.revision,
        register_base_model.context_length, register_base_model.frame)
    on conflict do nothing;
    select b.* into known from base_models b where b.name = register_base_model.name;
    if (known.revision, known.context_length, known.frame) <> (revision, context_length, frame) then
        raise exception using errcode = 'LX001', message = format(
            'base model %s is known at revision %s, context length %s, frame %s; give another revision another name',
            name, known.revision, known.context_length, to_json(known.frame));
    end if;
    update base_models m set retired_at = null where m.name = register_base_model.name and m.retired_at is not null;
end
$$;
comment on function loradex.register_base_model(text, text, int, text) is
    'Makes a base model known; registering it again changes nothing, or brings a retired one back.';
revoke execute on function loradex.register_base_model(text, text, int, text) from public;
grant execute on function loradex.register_base_model(text, text, int, text) to loradex_admin;
