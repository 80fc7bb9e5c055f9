-- Of jobs that ask for it (choice_prior is history), the mean share that each of their choices had in the asker's latest
-- answers: {"shares": [...], "answers": n}. A share is exp(score), normalised over the choices, and no smaller than e^-50
-- of the largest. Of the asker's latest 256 answers those count that had the same choices in the same order, scored for
-- the same base model, method and normalization; of a job with fewer than 16 such there is no row.
-- It is Batch Calibration (arXiv 2309.17249) with what was asked before in place of the batch; no label is read.
-- Locks: none. Raises: nothing.
create or replace function loradex.history_of_choices(job_ids uuid[]) returns table (job_id uuid, prior jsonb)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with asked as (
        select j.owner_id, j.choices, j.base_model, j.method, j.settings -> 'normalization' as normalization,
               array_agg(j.id) as jobs
        from jobs j
        where j.id = any (job_ids) and j.kind = 'choose' and j.settings ->> 'choice_prior' = 'history'
        group by 1, 2, 3, 4, 5
    )
    select unnest(q.jobs), h.prior
    from asked q
    cross join lateral (
        select jsonb_build_object('shares', jsonb_agg(m.share order by m.place), 'answers', min(m.answers)) as prior
        from (
            select s.place, avg(s.share) as share, count(*) as answers
            from (select a.id, a.choices, a.scores, a.base_model, a.method, a.generation
                  from answers a where a.owner_id = q.owner_id order by a.id desc limit 256) a
            cross join lateral (
                select t.place, t.mass / sum(t.mass) over () as share
                from (select u.place, exp(greatest(u.score - max(u.score) over (), -50)) as mass
                      from unnest(a.scores) with ordinality u(score, place)) t) s
            where a.choices = q.choices and a.base_model = q.base_model and a.method = q.method
              and a.generation -> 'normalization' = q.normalization
            group by s.place) m
        having min(m.answers) >= 16) h;
end
$$;
comment on function loradex.history_of_choices(uuid[]) is
    'Mean share of each choice in the asker''s latest answers, of jobs that ask for it; internal.';
revoke execute on function loradex.history_of_choices(uuid[]) from public;
grant execute on function loradex.history_of_choices(uuid[]) to loradex_reader, loradex_worker, loradex_admin;
