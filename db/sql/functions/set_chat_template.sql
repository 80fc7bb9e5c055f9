-- Gives a base model the chat template that its conversations are read by, another one, or none. `system_role` says
-- whether it takes a system message. Nothing is rendered here: `loradex model register` tries it first. Answers keep how
-- their conversation was laid out, so that another template changes none of them.
-- Locks: its row. Raises: LX001 bad value; LX002 unknown base model.
create or replace function loradex.set_chat_template(name text, template text, system_role boolean default false)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if octet_length(template) > 200000 or template !~ '\S' or system_role is null then
        raise exception using errcode = 'LX001', message =
            'a chat template is a text of at most 200,000 bytes, and system_role is true or false';
    end if;
    update base_models m set chat_template = template, system_role = set_chat_template.system_role and template is not null
    where m.name = set_chat_template.name;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no base model %s; known are: %s', shown(name),
            coalesce((select string_agg(m.name, ', ' order by m.name) from base_models m), 'none yet'));
    end if;
end
$$;
comment on function loradex.set_chat_template(text, text, boolean) is
    'Gives a base model the chat template that conversations are read by; null: none.';
revoke execute on function loradex.set_chat_template(text, text, boolean) from public;
grant execute on function loradex.set_chat_template(text, text, boolean) to loradex_admin;
