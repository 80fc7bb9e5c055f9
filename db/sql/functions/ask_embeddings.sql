-- Asks for the vectors of texts, as questions are embedded, and returns the request's id; take_embeddings gives them. An
-- owner may have 64 requests waiting, everybody together 1024.
-- Locks: none that others wait for. Raises: LX001 no texts, too many, empty or too long ones; LX002 unknown encoder; LX008
-- too many wait; LX011 and 42501 the API key may not ask.
create or replace function loradex.ask_embeddings(texts text[], encoder text default null) returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    most_texts constant int := 1024;
    most_characters constant int := 1000000;
    most_of_owner constant int := 64;
    most_of_all constant int := 1024;
    longest constant int := (select s.maximum from settings s where s.kind = 'job' and s.name = 'prompt');
    asking bigint := current_owner();
    wanted text := coalesce(ask_embeddings.encoder, (select s.value #>> '{}' from settings s where s.name = 'encoder'));
    made uuid := gen_random_uuid();
    wrong int;
begin
    perform check_scope('ask');
    if coalesce(cardinality(ask_embeddings.texts), 0) not between 1 and most_texts or array_ndims(ask_embeddings.texts) > 1 then
        raise exception using errcode = 'LX001', message = format(
            'texts are %s; give 1 to %s', coalesce(cardinality(ask_embeddings.texts), 0), most_texts);
    end if;
    if (select sum(length(t.text)) from unnest(ask_embeddings.texts) t(text)) > most_characters then
        raise exception using errcode = 'LX001', message = format(
            'texts have more than %s characters together; send them in several requests', most_characters);
    end if;
    select t.place into wrong from unnest(ask_embeddings.texts) with ordinality t(text, place)
    where coalesce(t.text, '') !~ '\S' or length(t.text) > longest order by t.place limit 1;
    if found then
        raise exception using errcode = 'LX001', message = format(
            'text %s of texts is empty, or has more than %s characters; leave it out', wrong, longest);
    end if;
    if not exists (select from encoders e where e.name = wanted and e.retired_at is null) then
        raise exception using errcode = 'LX002', message = format(
            'encoder names no encoder %s; known are: %s', shown(wanted), coalesce(
                (select string_agg(e.name, ', ' order by e.name) from encoders e where e.retired_at is null), 'none yet'));
    end if;
    if asking is null then
        insert into owners (name, role) select r.rolname, r.oid from pg_roles r where r.rolname = session_user
        on conflict do nothing;
        asking := current_owner();
    end if;
    if (select count(*) from embeddings e where e.owner_id = asking) >= most_of_owner
       or (select count(*) from embeddings) >= most_of_all then
        raise exception using errcode = 'LX008', message =
            'too many requests for vectors wait; take those that are there, or try again later';
    end if;
    insert into embeddings (id, owner_id, encoder, texts, created_at)
    values (made, asking, wanted, ask_embeddings.texts, now());
    perform notify_workers();
    return made;
end
$$;
comment on function loradex.ask_embeddings(text[], text) is
    'Asks for the vectors of texts; returns the id that take_embeddings gives them for.';
revoke execute on function loradex.ask_embeddings(text[], text) from public;
grant execute on function loradex.ask_embeddings(text[], text) to loradex_client, loradex_admin;
