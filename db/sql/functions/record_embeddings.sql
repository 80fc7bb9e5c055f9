-- Leaves the vectors of claimed texts, or why there are none, for whoever asked, and deletes the texts. Nothing happens if
-- the request is gone or has its vectors.
-- Locks: the row. Raises: LX001 neither vectors nor a refusal, or both; LX005 bad vector, or not one a text.
create or replace function loradex.record_embeddings(
    embeddings_id uuid, vectors public.vector[], tokens int, refusal text default null
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    waiting embeddings;
begin
    if num_nonnulls(record_embeddings.vectors, record_embeddings.refusal) <> 1 then
        raise exception using errcode = 'LX001', message = 'give vectors, or a refusal that says why there are none';
    end if;
    select e.* into waiting from embeddings e where e.id = embeddings_id and e.texts is not null for update;
    if not found then
        return;
    end if;
    perform check_vector(v.vector, waiting.encoder) from unnest(record_embeddings.vectors) v(vector);
    if cardinality(record_embeddings.vectors) <> cardinality(waiting.texts) then
        raise exception using errcode = 'LX005', message = format(
            '%s vectors for %s texts; give one each', cardinality(record_embeddings.vectors), cardinality(waiting.texts));
    end if;
    update embeddings e
    set texts = null, vectors = record_embeddings.vectors, tokens = record_embeddings.tokens,
        refusal = left(record_embeddings.refusal, 1000)
    where e.id = embeddings_id;
end
$$;
comment on function loradex.record_embeddings(uuid, public.vector[], int, text) is
    'Leaves the vectors of claimed texts, or why there are none, for whoever asked.';
revoke execute on function loradex.record_embeddings(uuid, public.vector[], int, text) from public;
grant execute on function loradex.record_embeddings(uuid, public.vector[], int, text) to loradex_worker;
