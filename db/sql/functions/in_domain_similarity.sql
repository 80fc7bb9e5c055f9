-- How near the nearest other example is for examples themselves: the given percentile over a sample spread over all of
-- them: the first 20 of each task, fewer where these would be more than about 2,000, or as many of each as is said. A
-- question farther from everything than this is out of the library's domain. Null: there are fewer than two.
-- Locks: none. Raises: LX001 bad percentile; LX002 unknown encoder.
create or replace function loradex.in_domain_similarity(
    encoder text default 'all-MiniLM-L6-v2', percentile float8 default 0.05, examples_a_task int default null
) returns float8
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if percentile is null or not (percentile between 0 and 1) then
        raise exception using errcode = 'LX001', message = format(
            'percentile is %s; give 0 to 1', coalesce(percentile::text, 'null'));
    end if;
    return (
        select percentile_cont(percentile) within group (order by n.similarity)
        from example_neighbours(1, encoder, coalesce(
            examples_a_task, greatest(1, least(20, (select 2000 / greatest(count(*), 1) from tasks)))::int)) n);
end
$$;
comment on function loradex.in_domain_similarity(text, float8, int) is
    'Percentile of the similarity between an example and its nearest other one: the edge of the domain.';
revoke execute on function loradex.in_domain_similarity(text, float8, int) from public;
grant execute on function loradex.in_domain_similarity(text, float8, int) to loradex_reader, loradex_worker, loradex_admin;
