-- Refuses what a worker says about an answer where it cannot be true of this job: a choice that was not offered, scores or
-- tokens that do not match, figures that are no numbers, another recipe than was decided.
-- Locks: none. Raises: LX001.
create or replace function loradex.check_answer(job loradex.jobs, routing jsonb, answer jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    merge jsonb := answer -> 'merge';
    -- Numbers as they are; anything else becomes null, which no comparison below takes for right.
    scores float8[];
    complaint text;
begin
    if jsonb_typeof(answer -> 'scores') = 'array' and jsonb_array_length(answer -> 'scores') <= 10000 then
        scores := array(select case when jsonb_typeof(s.score) = 'number' then s.score::float8 end
                        from jsonb_array_elements(answer -> 'scores') with ordinality s(score, place)
                        order by s.place);
    end if;
    complaint := case
        when jsonb_typeof(answer) is distinct from 'object' or jsonb_typeof(merge) is distinct from 'object'
            then 'it is not an object with a merge'
        when jsonb_typeof(answer -> 'text') is distinct from 'string' then 'it has no text'
        when job.kind = 'choose' and (
            (answer ->> 'choice' = any (job.choices)) is not true
            or answer ->> 'text' is distinct from answer ->> 'choice')
            then 'its choice is none of the job''s'
        when job.kind = 'choose' and (cardinality(scores) = cardinality(job.choices)) is not true
            then 'it does not have one score per choice'
        when job.kind = 'choose' and array_position(scores, null) is not null then 'a score is not a number'
        when job.kind = 'generate' and (answer ->> 'choice' is not null or scores is not null)
            then 'a generated text has no choice and no scores'
        when jsonb_typeof(answer -> 'token_ids') is distinct from 'array'
             or jsonb_typeof(answer -> 'output_tokens') is distinct from 'number'
             or jsonb_array_length(answer -> 'token_ids')::text is distinct from answer ->> 'output_tokens'
            then 'its tokens do not match their number'
        when jsonb_typeof(answer -> 'prompt_tokens') is distinct from 'number'
             or (answer ->> 'prompt_tokens')::numeric not between 0 and 2147483647
            then 'it does not say how many tokens the prompt has'
        when job.kind = 'generate'
             and jsonb_array_length(answer -> 'token_ids') > (job.settings ->> 'max_new_tokens')::int
            then 'it has more tokens than the job allows'
        when job.kind = 'generate' and jsonb_array_length(answer -> 'token_ids') < (job.settings ->> 'min_tokens')::int
             and not exists (select from jsonb_array_elements(job.settings -> 'stop'))
             and not job.settings ?| array['json_schema', 'regex']
            then 'it has fewer tokens than the job asks for'
        when job.kind = 'generate' and exists (
            select from jsonb_array_elements_text(job.settings -> 'stop') s(one)
            where position(s.one in answer ->> 'text') > 0)
            then 'there is a stop string in its text'
        when (job.kind = 'choose' or job.settings ->> 'logprobs' is null) and answer ->> 'logprobs' is not null
            then 'nobody asked for its log-probabilities'
        when job.kind = 'generate' and job.settings ->> 'logprobs' is not null and (
            jsonb_typeof(answer -> 'logprobs') is distinct from 'array'
            or jsonb_array_length(answer -> 'logprobs') <> jsonb_array_length(answer -> 'token_ids')
            or exists (
                select from jsonb_array_elements(answer -> 'logprobs') with ordinality l(told, place)
                where (l.told -> 'id' = answer -> 'token_ids' -> (l.place::int - 1)
                       and jsonb_array_length(l.told -> 'top') <= (job.settings ->> 'logprobs')::int
                       and not exists (
                           select from jsonb_array_elements(l.told -> 'top' || (l.told - 'top')) t(one)
                           where (jsonb_typeof(t.one -> 'id') = 'number' and jsonb_typeof(t.one -> 'token') = 'string'
                                  and jsonb_typeof(t.one -> 'logprob') = 'number'
                                  and (t.one ->> 'logprob')::numeric between -1e6 and 1) is not true)) is not true))
            then 'its log-probabilities do not match its tokens'
        when answer -> 'generation' ? 'finish_reason' and (answer #>> '{generation,finish_reason}' = any (case
                when job.kind = 'choose' then array['choice']
                when jsonb_array_length(answer -> 'token_ids') < (job.settings ->> 'max_new_tokens')::int
                    then array['stop']
                else array['stop', 'length'] end)) is not true
            then 'its tokens do not fit the reason why it ends'
        when jsonb_typeof(answer -> 'timings') is distinct from 'object' or exists (
            select from jsonb_each(answer -> 'timings') t
            -- Not nearer to 0 than a float8 can be: views read them as such.
            where jsonb_typeof(t.value) <> 'number'
               or t.value::numeric <> 0 and t.value::numeric not between 1e-300 and 1e12)
            then 'a timing is not a number of milliseconds'
        when jsonb_typeof(answer -> 'versions') is distinct from 'object' or exists (
            select from jsonb_each(answer -> 'versions') v where jsonb_typeof(v.value) <> 'string')
            then 'a version is not a text'
        when jsonb_typeof(answer -> 'generation') is distinct from 'object' then 'it does not say how it was generated'
        when answer ->> 'base_model_revision' is distinct from (
            select b.revision from base_models b where b.name = job.base_model)
            then 'its base model is not the registered one'
        when merge ->> 'recipe_hash' is distinct from recipe_hash(
            routing ->> 'merge', (routing ->> 'calibrated')::boolean, (job.settings ->> 'density')::float8,
            merge ->> 'dtype', routing -> 'mixture')
            then 'its recipe is not the one that was decided'
        when abs((select sum((m.part ->> 'weight')::float8)
                  from jsonb_array_elements(routing -> 'mixture') m(part)) - 1) > 1e-6
            then 'the weights of its mixture do not sum to 1'
        when exists (
            select from jsonb_each(merge) m
            where m.key in ('update_norm', 'milliseconds') and jsonb_typeof(m.value) <> 'number'
               or m.key = 'sign_conflict' and jsonb_typeof(m.value) not in ('number', 'null'))
            then 'a figure of its merge is not a number'
        when jsonb_typeof(merge -> 'component_norms') is distinct from 'array'
             or jsonb_array_length(merge -> 'component_norms') <> jsonb_array_length(routing -> 'mixture')
             or exists (select from jsonb_array_elements(merge -> 'component_norms') n where jsonb_typeof(n) <> 'number')
            then 'it does not have one norm per component'
        end;
    if complaint is not null then
        raise exception using errcode = 'LX001', message = format(
            'the answer of job %s cannot be recorded: %s', job.id, complaint);
    end if;
end
$$;
comment on function loradex.check_answer(loradex.jobs, jsonb, jsonb) is
    'Raises LX001 where what a worker says about an answer cannot be true of the job; internal.';
revoke execute on function loradex.check_answer(loradex.jobs, jsonb, jsonb) from public;
