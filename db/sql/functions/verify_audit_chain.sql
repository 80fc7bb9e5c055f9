-- Walks the chain of answers from one to another (default: from first to last) and names every broken link; no rows
-- means that the chain is intact. A tail that was cut off shows only against a head kept elsewhere (audit_head).
-- Locks: none. Raises: LX004 unknown answer.
create or replace function loradex.verify_audit_chain(from_answer uuid default null, to_answer uuid default null)
returns table ("position" bigint, answer_id uuid, reason text)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    first_position bigint := 1;
    last_position bigint;
    before bytea := decode(repeat('00', 32), 'hex');
    expected bigint;
    link answers;
begin
    if from_answer is not null then
        select a.position into first_position from answers a where a.id = from_answer;
        if not found then
            raise exception using errcode = 'LX004', message = format('no answer %s to begin with', from_answer);
        end if;
        select a.chain_hash into before from answers a where a.position = first_position - 1;
    end if;
    if to_answer is not null then
        select a.position into last_position from answers a where a.id = to_answer;
        if not found then
            raise exception using errcode = 'LX004', message = format('no answer %s to end with', to_answer);
        end if;
    end if;

    expected := first_position;
    for link in
        select a.* from answers a
        where a.position >= first_position and (last_position is null or a.position <= last_position)
        order by a.position
    loop
        position := link.position;
        answer_id := link.id;
        if link.position <> expected then
            reason := format('%s answer(s) before it are missing', link.position - expected);
            return next;
        -- At the start of a part of the chain there may be nothing to compare with.
        elsif before is not null and link.previous_hash <> before then
            reason := 'its previous_hash is not the chain_hash of the answer before it';
            return next;
        end if;
        if link.chain_hash is distinct from answer_hash(link) then
            reason := 'its chain_hash does not fit its columns: the answer or a row that belongs to it was changed';
            return next;
        end if;
        before := link.chain_hash;
        expected := link.position + 1;
    end loop;

    -- Rows of evidence that no answer owns were put there by hand.
    if from_answer is null and to_answer is null then
        position := null;
        for answer_id, reason in
            select o.answer_id, format('loradex.%s holds rows of it, but there is no such answer', o.origin)
            from (
                select r.answer_id, 'retrievals' as origin from retrievals r
                union select r.answer_id, 'retrieved_examples' from retrieved_examples r
                union select r.answer_id, 'retrieved_tasks' from retrieved_tasks r
                union select r.answer_id, 'merge_results' from merge_results r
                union select r.answer_id, 'merge_components' from merge_components r
            ) o
            where not exists (select from answers a where a.id = o.answer_id)
        loop
            return next;
        end loop;
    end if;
end
$$;
comment on function loradex.verify_audit_chain(uuid, uuid) is
    'One row per broken link of the answer chain with the reason; no rows means intact.';
revoke execute on function loradex.verify_audit_chain(uuid, uuid) from public;
grant execute on function loradex.verify_audit_chain(uuid, uuid) to loradex_reader, loradex_worker, loradex_admin;
