-- Makes a task known, or gives a known one a new card. Family and metric of a task with examples do not change.
-- Locks: the task's row. Raises: LX001 bad value, or known with another family or metric.
create or replace function loradex.register_task(name text, family text, metric text, card jsonb default '{}')
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if coalesce(name, '') !~ '^[a-z0-9][a-z0-9_.-]{0,99}$' or coalesce(family, '') = '' or length(family) > 100
       or coalesce(metric, '') not in ('accuracy', 'exact_match', 'f1', 'rouge_l', 'bleu')
       or coalesce(jsonb_typeof(card), '') <> 'object' or pg_column_size(card) > 1000000 then
        raise exception using errcode = 'LX001', message =
            'a task needs a name (small letters, digits, _ . -), a family, a metric (accuracy, exact_match, f1, rouge_l or bleu), and a card of at most 1 MB';
    end if;
    insert into tasks as t values (register_task.name, register_task.family, register_task.metric, register_task.card)
    on conflict on constraint tasks_pkey do update set card = excluded.card
        where t.family = excluded.family and t.metric = excluded.metric;
    if not found then
        raise exception using errcode = 'LX001', message = format(
            'task %s is known with another family or metric; give the new one another name', name);
    end if;
end
$$;
comment on function loradex.register_task(text, text, text, jsonb) is
    'Makes a task known, or replaces the card of a known one.';
revoke execute on function loradex.register_task(text, text, text, jsonb) from public;
grant execute on function loradex.register_task(text, text, text, jsonb) to loradex_admin;
