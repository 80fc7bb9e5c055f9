-- Refuses UPDATE, DELETE and TRUNCATE on the tables of evidence (also of adapters' content), whoever asks.
-- Locks: none of its own. Raises: LX009.
create or replace function loradex.refuse_change() returns trigger
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    raise exception using
        errcode = 'LX009',
        message = format('%s on loradex.%s is refused: its rows are evidence; write a new row instead',
                         lower(tg_op), tg_table_name);
end
$$;
comment on function loradex.refuse_change() is
    'Trigger: refuses UPDATE, DELETE and TRUNCATE on tables of evidence with LX009.';
revoke execute on function loradex.refuse_change() from public;

create or replace trigger append_only before delete or truncate on loradex.answers
    for each statement execute function loradex.refuse_change();
create or replace trigger append_only before update or delete or truncate on loradex.erasures
    for each statement execute function loradex.refuse_change();
create or replace trigger append_only before update or delete or truncate on loradex.archives
    for each statement execute function loradex.refuse_change();
create or replace trigger append_only before update or delete or truncate on loradex.evaluations
    for each statement execute function loradex.refuse_change();
create or replace trigger append_only before update or delete or truncate on loradex.feedback
    for each statement execute function loradex.refuse_change();
-- An adapter is its content: only state and retired_at may change, and no row goes away.
create or replace trigger append_only before delete or truncate on loradex.adapters
    for each statement execute function loradex.refuse_change();
create or replace trigger content_is_fixed
    before update of id, name, version, task, base_model, sha256, rank, alpha, target_modules, dtype, parameters,
        update_norm, card, registered_at on loradex.adapters
    for each statement execute function loradex.refuse_change();
