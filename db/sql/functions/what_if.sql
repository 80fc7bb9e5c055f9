-- How one's own answer would be mixed under other settings, with the examples and adapters of today: null keeps what the
-- answer had. For clients, who see no vectors: nothing is generated, and nothing is told but tasks, adapters and numbers.
-- `total_variation` is the part of the weight that moves: 0 is the mixture on record, 1 an entirely different one.
-- Locks: none. Raises: LX001 bad setting, or a method that does not look at neighbours; LX002 unknown method, task or
-- adapter; LX004 unknown answer, another user's, or an erased one.
create or replace function loradex.what_if(
    answer_id uuid, k int default null, top_p float8 default null, temperature float8 default null,
    method text default null, exclude_tasks text[] default null, exclude_adapters text[] default null
) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    stored answers;
    wanted methods;
    request route_request;
    neighbours neighbour[];
    tasks jsonb;
    mixture jsonb;
begin
    select a.* into stored from answers a where a.id = what_if.answer_id and a.owner_id = current_owner();
    if not found then
        raise exception using errcode = 'LX004', message = format(
            'no answer %s, or it is another user''s; check the id', coalesce(what_if.answer_id::text, 'null'));
    end if;
    if stored.query is null then
        raise exception using errcode = 'LX004', message = format(
            'the query of answer %s was erased, so it cannot be routed again', stored.id);
    end if;
    select m.* into wanted from methods m where m.name = coalesce(what_if.method, stored.method);
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'method names no method %s; known are those of loradex.methods', shown(coalesce(what_if.method, stored.method)));
    end if;
    if wanted.selection not in ('nucleus', 'affinity', 'first') then
        raise exception using errcode = 'LX001', message = format(
            'method %s does not look at neighbours; name one of %s', wanted.name, (
                select string_agg(m.name, ', ' order by m.name) from methods m
                where m.selection in ('nucleus', 'affinity', 'first')));
    end if;
    request := row(1, stored.query, coalesce(k, stored.k), coalesce(top_p, stored.top_p),
                   coalesce(temperature, stored.temperature), coalesce(exclude_tasks, stored.exclude_tasks),
                   stored.base_model, coalesce(exclude_adapters, stored.exclude_adapters), stored.job_id);
    -- What is given is judged; what the answer had may be out of range by now.
    perform check_routing(coalesce(k, 1), coalesce(top_p, 1e-300), coalesce(temperature, 1), coalesce(exclude_tasks, '{}'),
                          null, coalesce(exclude_adapters, '{}'));
    neighbours := search_examples(array[request], stored.encoder);
    select coalesce(jsonb_agg(jsonb_build_object(
               'rank', m.rank, 'task', m.task, 'neighbours', m.neighbours, 'best_similarity', m.best_similarity,
               'probability', m.probability, 'weight', m.weight, 'in_nucleus', m.in_nucleus) order by m.rank), '[]'),
           coalesce(jsonb_agg(jsonb_build_object(
               'adapter', m.adapter, 'version', m.version, 'task', m.task, 'sha256', m.sha256, 'weight', m.weight)
               order by m.rank) filter (where m.in_nucleus), '[]')
    into tasks, mixture
    from mix_neighbours(array[request], neighbours) m;
    if wanted.selection = 'first' and mixture <> '[]' then
        mixture := jsonb_build_array(mixture -> 0 || '{"weight": 1}');
    end if;
    if wanted.selection = 'affinity' then
        select coalesce(jsonb_agg(jsonb_build_object(
                   'adapter', m.adapter, 'version', m.version, 'task', m.task, 'sha256', m.sha256, 'weight', m.weight)
                   order by m.rank), '[]')
        into mixture
        from mix_affinities(array[request], neighbours) m;
    end if;
    return jsonb_build_object(
        'answer_id', stored.id, 'method', wanted.name, 'k', request.k, 'top_p', request.top_p,
        'temperature', request.temperature, 'exclude_tasks', request.exclude_tasks,
        'exclude_adapters', request.exclude_adapters,
        'similarity', (select max(n.similarity) from unnest(neighbours) n),
        'tasks', tasks, 'mixture', mixture,
        'total_variation', (
            -- Weight that went to no adapter, or came from none, is the base model's.
            select coalesce((sum(abs(c.after - c.before)) + abs(sum(c.after) - sum(c.before))) / 2, 0)
            from (select coalesce((n.part ->> 'weight')::float8, 0) as after, coalesce(s.weight, 0) as before
                  from jsonb_array_elements(mixture) n(part)
                  full join unnest(stored.adapter_hashes, stored.weights) s(sha256, weight)
                      on encode(s.sha256, 'hex') = n.part ->> 'sha256') c));
end
$$;
comment on function loradex.what_if(uuid, int, float8, float8, text, text[], text[]) is
    'How one''s own answer would be mixed under other settings; null keeps the answer''s own. Nothing is generated.';
revoke execute on function loradex.what_if(uuid, int, float8, float8, text, text[], text[]) from public;
grant execute on function loradex.what_if(uuid, int, float8, float8, text, text[], text[]) to loradex_client;
