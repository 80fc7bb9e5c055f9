-- What the base model read for an answer, as one text: the prompt in the model's frame, or the conversation as its chat
-- template laid it out. Null once it was erased.
-- Locks: none. Raises: nothing.
create or replace function loradex.framed_text(answer loradex.answers) returns text
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select case
        when answer.prompt is null then null
        when answer.generation ? 'framed' then (
            select string_agg(case
                when jsonb_typeof(p.part) = 'string' then p.part #>> '{}'
                else left(substr(m.content, 1 + coalesce((p.part ->> 'left')::int, 0)),
                          length(m.content) - coalesce((p.part ->> 'left')::int, 0)
                              - coalesce((p.part ->> 'right')::int, 0))
                end, '' order by p.place)
            from jsonb_array_elements(answer.generation #> '{framed,parts}') with ordinality p(part, place)
            left join lateral (
                select answer.messages #>> array[p.part ->> 'message', 'content']
            ) m(content) on true)
        else replace(answer.generation ->> 'frame', '{prompt}', answer.prompt) end
$$;
comment on function loradex.framed_text(loradex.answers) is
    'What the base model read for an answer: the prompt in its frame, or the conversation in its chat template.';
revoke execute on function loradex.framed_text(loradex.answers) from public;
grant execute on function loradex.framed_text(loradex.answers)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
