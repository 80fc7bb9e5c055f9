-- A choice as a person reads it, which is also how it is scored: without white space around it, with line feeds for all
-- ends of lines, and in Unicode's composed form. Two choices that look the same have the same form.
-- Locks: none. Raises: nothing.
create or replace function loradex.choice_form(choice text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select normalize(btrim(regexp_replace(choice, E'\r\n?', E'\n', 'g'),
        E' \t\n\x0b\f\r\x1c\x1d\x1e\x1f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a'
        '\u2028\u2029\u202f\u205f\u3000'), nfc)
$$;
comment on function loradex.choice_form(text) is
    'A choice as it is read and scored: no white space around it, line feeds, composed characters.';
revoke execute on function loradex.choice_form(text) from public;
grant execute on function loradex.choice_form(text) to loradex_reader, loradex_client, loradex_worker, loradex_admin;
