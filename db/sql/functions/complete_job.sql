-- The row of loradex.jobs that a JSON object asks for: defaults filled in, whole numbers without a fraction, and what has
-- no column of its own gathered in `settings`. How a text is sampled is said by the job, else by the base model's
-- generation_defaults, else by the defaults; `model_defaults` in `settings` names what the model said. A job that asks
-- for the likeliest text takes none of the model's sampling.
-- `columns` are those of loradex.jobs, `integers` the whole-number settings.
-- Choices are kept as they are read (choice_form); the prompt of a conversation is the text that is embedded.
-- A job with an idempotency key keeps a hash of what was said of it, by which asking again is known whatever the defaults
-- are by then.
-- A job whose text is told while it is written gets a key that nobody can guess.
-- Locks: none. Raises: nothing; check_jobs has read the object before.
create or replace function loradex.complete_job(
    job_id uuid, owner bigint, turn bigint, job jsonb, defaults jsonb, columns text[], integers text[]
) returns loradex.jobs
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    said constant jsonb := jsonb_strip_nulls(job);
    complete jsonb := defaults || said;
    -- What the model says of it.
    its_own jsonb;
    made jobs;
begin
    if not said ? 'choices' then
        select m.generation_defaults into its_own from base_models m where m.name = complete ->> 'base_model';
    end if;
    if its_own is not null then
        its_own := its_own - array(select jsonb_object_keys(said));
        if (said ->> 'sampling_temperature')::numeric = 0 then
            its_own := its_own - array(select key from jsonb_object_keys(its_own) key where key like 'sampling\_%');
        end if;
        if its_own <> '{}' then
            complete := complete || its_own || jsonb_build_object('model_defaults', array(
                select key from jsonb_object_keys(its_own) key order by key));
        end if;
    end if;
    if job ?| integers then
        complete := complete || (
            select coalesce(jsonb_object_agg(i.name, trim_scale((job ->> i.name)::numeric)), '{}')
            from unnest(integers) i(name) where job ->> i.name is not null);
    end if;
    made := jsonb_populate_record(made, complete);
    made.id := job_id;
    made.owner_id := complete_job.owner;
    made.turn := complete_job.turn;
    made.owner := (select o.name from owners o where o.id = complete_job.owner);
    made.api_key_id := current_key();
    made.kind := case when made.choices is null then 'generate' else 'choose' end;
    if made.choices is not null then
        made.choices := array(
            select choice_form(c.choice) from unnest(made.choices) with ordinality c(choice, place) order by c.place);
    end if;
    if made.messages is not null then
        made.prompt := case complete ->> 'embedded_messages'
            when 'last' then made.messages -> -1 ->> 'content'
            else (select string_agg(m.message ->> 'content', E'\n\n' order by m.place)
                  from jsonb_array_elements(made.messages) with ordinality m(message, place)) end;
    else
        complete := complete - 'embedded_messages';
    end if;
    made.settings := complete - columns;
    if made.idempotency_key is not null then
        made.asked := sha256(convert_to((said - array['stream', 'traceparent'])::text, 'UTF8'));
    end if;
    made.pieces_key := case when (complete ->> 'stream')::boolean then gen_random_uuid() end;
    made.state := 'queued';
    made.attempt := 0;
    made.releases := 0;
    made.held_seconds := 0;
    made.created_at := now();
    made.expires_at := made.created_at + make_interval(secs => made.deadline);
    return made;
end
$$;
comment on function loradex.complete_job(uuid, bigint, bigint, jsonb, jsonb, text[], text[]) is
    'The row of loradex.jobs a JSON object asks for, defaults filled in; internal.';
revoke execute on function loradex.complete_job(uuid, bigint, bigint, jsonb, jsonb, text[], text[]) from public;
