-- Why an answer ended: `choice` where choices were ranked; of a text `stop` where it came to its end, `length` where it
-- was cut off at max_new_tokens.
-- Locks: none. Raises: nothing.
create or replace function loradex.finish_reason(generation jsonb, output_tokens int) returns text
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select case
        when generation ->> 'kind' = 'choose' then 'choice'
        -- A text may come to its end with the last token that the job allows: the worker alone knows which tokens end one.
        when generation ? 'finish_reason' then generation ->> 'finish_reason'
        when output_tokens >= (generation ->> 'max_new_tokens')::int then 'length'
        else 'stop' end
$$;
comment on function loradex.finish_reason(jsonb, int) is
    'Why an answer ended: choice, stop or length, from its generation and its tokens.';
revoke execute on function loradex.finish_reason(jsonb, int) from public;
grant execute on function loradex.finish_reason(jsonb, int)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
