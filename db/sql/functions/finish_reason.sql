-- Why an answer ended: `choice` where choices were ranked; of a text `stop` where it came to its end, `length` where it
-- was cut off at max_new_tokens.
-- It is asked of many answers at once, and their generation is kept out of line: it is fetched once.
-- Locks: none. Raises: nothing.
create or replace function loradex.finish_reason(generation jsonb, output_tokens int) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    fetched constant jsonb := generation || '{}';
begin
    return case
        when fetched ->> 'kind' = 'choose' then 'choice'
        -- A text may come to its end with the last token that the job allows: the worker alone knows which tokens end one.
        when fetched ? 'finish_reason' then fetched ->> 'finish_reason'
        when output_tokens >= (fetched ->> 'max_new_tokens')::int then 'length'
        else 'stop' end;
end
$$;
comment on function loradex.finish_reason(jsonb, int) is
    'Why an answer ended: choice, stop or length, from its generation and its tokens.';
revoke execute on function loradex.finish_reason(jsonb, int) from public;
grant execute on function loradex.finish_reason(jsonb, int)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
