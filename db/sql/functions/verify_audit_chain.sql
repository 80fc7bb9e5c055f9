-- Checks the chain from one answer to another (default: from first to last) and names every broken link; no rows means
-- that the chain is intact. A tail that was cut off shows only against a head kept elsewhere (audit_head). Links are
-- answers, and the notes of erasures and archives. What was archived is not there to be looked at: the chain begins where it ended.
-- The hashes are computed by as many processes as Postgres grants (max_parallel_workers_per_gather); only broken links
-- are kept in memory. One snapshot: answers that are recorded meanwhile are not looked at.
-- Locks: none. Raises: LX004 unknown answer.
create or replace function loradex.verify_audit_chain(from_answer uuid default null, to_answer uuid default null)
returns table ("position" bigint, answer_id uuid, reason text)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    from_position bigint := coalesce((select max(r.last_position) from archives r), 0) + 1;
    to_position bigint;
    hash_before bytea := coalesce(
        (select r.last_hash from archives r order by r.last_position desc limit 1), decode(repeat('00', 32), 'hex'));
begin
    if from_answer is not null then
        select a.position into from_position from answers a where a.id = from_answer;
        if not found then
            raise exception using errcode = 'LX004', message = format('no answer %s to begin with', from_answer);
        end if;
        -- At the start of a part of the chain there may be nothing to compare with: then it stays null.
        select l.chain_hash into hash_before from (
            select a.position, a.chain_hash from answers a union all select e.position, e.chain_hash from erasures e
            union all select r.position, r.chain_hash from archives r
        ) l where l.position = from_position - 1;
    end if;
    if to_answer is not null then
        select a.position into to_position from answers a where a.id = to_answer;
        if not found then
            raise exception using errcode = 'LX004', message = format('no answer %s to end with', to_answer);
        end if;
    end if;

    return query
    select l.position, l.answer_id, broken.reason
    from (
        select h.position, h.answer_id, h.previous_hash, h.changed, h.unnoted,
               lag(h.position + 1, 1, from_position) over (order by h.position) as expected,
               lag(h.chain_hash, 1, hash_before) over (order by h.position) as before
        from (
            select a.position, a.id as answer_id, a.previous_hash, a.chain_hash,
                   a.chain_hash is distinct from answer_hash(a) as changed,
                   a.commitments is not null and not exists (
                       select from erasures e where e.answers @> array[a.id]) as unnoted
            from answers a
            where a.position >= from_position and (to_position is null or a.position <= to_position)
            union all
            select e.position, null, e.previous_hash, e.chain_hash,
                   e.chain_hash is distinct from
                       sha256(e.previous_hash || convert_to(erasure_canonical(e), 'UTF8')), false
            from erasures e
            where e.position >= from_position and (to_position is null or e.position <= to_position)
            union all
            select r.position, null, r.previous_hash, r.chain_hash,
                   r.chain_hash is distinct from
                       sha256(r.previous_hash || convert_to(archive_canonical(r), 'UTF8')), false
            from archives r
            where r.position >= from_position and (to_position is null or r.position <= to_position)
            -- Keeps the hash below the window, where it is computed in parallel.
            offset 0
        ) h
    ) l
    cross join lateral (values
        (1, case when l.position <> l.expected
                 then format('%s link(s) before it are missing', l.position - l.expected)
                 when l.previous_hash <> l.before
                 then 'its previous_hash is not the chain_hash of the link before it' end),
        (2, case when l.changed then 'its chain_hash does not fit its columns: it was changed' end),
        (3, case when l.unnoted then 'its texts were erased, and no note says so' end)
    ) as broken(place, reason)
    where broken.reason is not null
    order by l.position, broken.place;
end
$$;
comment on function loradex.verify_audit_chain(uuid, uuid) is
    'One row per broken link of the chain with the reason; no rows means intact.';
revoke execute on function loradex.verify_audit_chain(uuid, uuid) from public;
grant execute on function loradex.verify_audit_chain(uuid, uuid) to loradex_reader, loradex_worker, loradex_admin;
