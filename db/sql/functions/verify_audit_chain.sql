-- Checks the chain from one answer to another (default: from first to last) and names every broken link; no rows means
-- that the chain is intact. A tail that was cut off shows only against a head kept elsewhere (audit_head). Links are
-- answers, and the notes of erasures and archives. What was archived is not there to be looked at: the chain begins where
-- it ended. Notes of archives must follow one another without a gap, each behind what it speaks of. An erased answer
-- may hold nothing that can be erased, and no commitments but those to it: no hash would cover what else is there.
-- The hashes are computed by as many processes as Postgres grants (max_parallel_workers_per_gather); only broken links
-- are kept in memory. One snapshot: answers that are recorded meanwhile are not looked at. Called while drop_archived
-- runs it may name links as missing that were archived: lock loradex.answers in access share mode in a statement before,
-- as loradex audit verify does.
-- Locks: none. Raises: LX004 unknown answer.
create or replace function loradex.verify_audit_chain(from_answer uuid default null, to_answer uuid default null)
returns table ("position" bigint, answer_id uuid, reason text)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    beginning constant bigint := (select b.position from chain_beginning() b);
    from_position bigint := beginning;
    -- An answer of before the beginning should be gone, and is looked at; notes of before it are in the archive.
    least_position bigint := -9223372036854775808;
    to_position bigint := 9223372036854775807;
    hash_before bytea := (select b.previous_hash from chain_beginning() b);
    nothing constant jsonb := answer_erasable(null::answers);
    erasable constant text[] := array(select jsonb_object_keys(nothing));
begin
    if from_answer is not null then
        select a.position into from_position from answers a where a.id = from_answer;
        if not found then
            raise exception using errcode = 'LX004', message = format('no answer %s to begin with', from_answer);
        end if;
        least_position := from_position;
        if from_position <> beginning then
            -- At the start of a part of the chain there may be nothing to compare with: then it is null.
            hash_before := (
                select l.chain_hash from (
                    select a.position, a.chain_hash from answers a
                    union all select e.position, e.chain_hash from erasures e
                    union all select r.position, r.chain_hash from archives r
                ) l where l.position = from_position - 1 limit 1);
        end if;
    end if;
    if to_answer is not null then
        select a.position into to_position from answers a where a.id = to_answer;
        if not found then
            raise exception using errcode = 'LX004', message = format('no answer %s to end with', to_answer);
        end if;
    end if;

    return query
    select f.position, f.answer_id, f.reason
    from (
        select l.position, l.answer_id, broken.place, broken.reason
        from (
            select h.position, h.answer_id, h.previous_hash, h.changed, h.uncovered,
                   lag(h.position + 1, 1, from_position) over (order by h.position) as expected,
                   lag(h.chain_hash, 1, hash_before) over (order by h.position) as before
            from (
                select a.position, a.id as answer_id, a.previous_hash, a.chain_hash,
                       a.chain_hash is distinct from answer_hash(a) as changed,
                       case when a.commitments is null then false
                            when a.salt is not null or answer_erasable(a) <> nothing then true
                            when jsonb_typeof(a.commitments) <> 'object' then true
                            else not a.commitments ?& erasable or a.commitments - erasable <> '{}' end as uncovered
                from answers a
                where a.position between least_position and to_position
                union all
                select e.position, null, e.previous_hash, e.chain_hash,
                       e.chain_hash is distinct from
                           sha256(e.previous_hash || convert_to(erasure_canonical(e), 'UTF8')),
                       false
                from erasures e
                where e.position between from_position and to_position
                union all
                select r.position, null, r.previous_hash, r.chain_hash,
                       r.chain_hash is distinct from
                           sha256(r.previous_hash || convert_to(archive_canonical(r), 'UTF8')),
                       false
                from archives r
                where r.position between from_position and to_position
                -- Keeps the hash below the window, where it is computed in parallel.
                offset 0
            ) h
        ) l
        cross join lateral (values
            (1, case when l.position > l.expected
                     then format('%s link(s) before it are missing', l.position - l.expected)
                     when l.position < l.expected then 'its position is taken, or lies before the first'
                     when l.previous_hash <> l.before
                     then 'its previous_hash is not the chain_hash of the link before it' end),
            (2, case when l.changed then 'its chain_hash does not fit its columns: it was changed' end),
            (3, case when l.uncovered
                     then 'it says that its texts were erased, and holds some: no hash covers them' end)
        ) as broken(place, reason)
        where broken.reason is not null
        union all
        -- Joined and not asked for one by one, so that a million erased answers take no longer than a million others.
        select a.position, a.id, 4, 'its texts were erased, and no note says so'
        from answers a
        left join (
            select distinct unnest(e.answers) as answer from erasures e where e.position >= beginning
        ) noted on noted.answer = a.id
        where a.commitments is not null and noted.answer is null
          and a.position between least_position and to_position
        union all
        select r.position, null, 5, case
            when r.position <= r.last_position
            then format('it says that links up to %s were archived, and does not come after them', r.last_position)
            when r.last_position < r.first_position
            then format('it says that an archive begins with link %s and ends with %s', r.first_position, r.last_position)
            when r.first_position <> s.expected
            then format('it says that an archive begins with link %s, and %s was expected', r.first_position, s.expected)
            when r.position < beginning and r.chain_hash is distinct from
                sha256(r.previous_hash || convert_to(archive_canonical(r), 'UTF8'))
            then 'its chain_hash does not fit its columns: it was changed' end
        from archives r
        join (
            select n.id, lag(n.last_position + 1, 1, 1::bigint) over (
                partition by n.position > n.last_position and n.last_position >= n.first_position
                order by n.first_position, n.position) as expected
            from archives n
        ) s on s.id = r.id
        where from_answer is null and to_answer is null
        union all
        -- Of what was archived the notes stay; those of archives are looked at above.
        select e.position, null, 2, 'its chain_hash does not fit its columns: it was changed'
        from erasures e
        where from_answer is null and to_answer is null and e.position < beginning
          and e.chain_hash is distinct from sha256(e.previous_hash || convert_to(erasure_canonical(e), 'UTF8'))
    ) f
    where f.reason is not null
    order by f.position, f.place;
end
$$;
comment on function loradex.verify_audit_chain(uuid, uuid) is
    'One row per broken link of the chain with the reason; no rows means intact.';
revoke execute on function loradex.verify_audit_chain(uuid, uuid) from public;
grant execute on function loradex.verify_audit_chain(uuid, uuid) to loradex_reader, loradex_worker, loradex_admin;
