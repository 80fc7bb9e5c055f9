-- Lets an UPDATE of an answer pass only if it erases: what can be erased (answer_erasable) becomes null and the salt with
-- it, commitments take its place, and nothing else changes. The check of the table sees to the nulls.
-- Locks: none of its own. Raises: LX009.
create or replace function loradex.refuse_rewriting() returns trigger
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    changing text[] := array(select jsonb_object_keys(answer_erasable(old))) || '{salt,commitments}';
begin
    if old.commitments is null and new.commitments = answer_commitments(old)
       and to_jsonb(new) - changing = to_jsonb(old) - changing then
        return new;
    end if;
    raise exception using
        errcode = 'LX009',
        message = format('update on loradex.%s is refused: its rows are evidence; only `loradex erase` takes from them',
                         tg_table_name);
end
$$;
comment on function loradex.refuse_rewriting() is
    'Trigger: refuses UPDATE on answers with LX009, unless it erases what can be erased and nothing else.';
revoke execute on function loradex.refuse_rewriting() from public;

create or replace trigger only_erasing before update on loradex.answers
    for each row execute function loradex.refuse_rewriting();
