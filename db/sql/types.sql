-- One request for routing. Functions that search and mix take arrays of them, so that one statement serves one
-- query or a thousand. `base_model` null means that every task takes part, with or without an adapter. `job_id` draws among
-- adapters that share a task; null takes the one with the largest share.
create type loradex.route_request as (
    ordinal int,
    query public.vector,
    k int,
    top_p float8,
    temperature float8,
    exclude_tasks text[],
    base_model text,
    exclude_adapters text[],
    job_id uuid
);
comment on type loradex.route_request is 'One query with its routing settings; ordinal tells requests of a batch apart.';

-- One neighbour of one request.
create type loradex.neighbour as (
    ordinal int,
    rank int,
    example_id bigint,
    task text,
    similarity float8
);
comment on type loradex.neighbour is 'One neighbour of the request with that ordinal; rank 1 is the nearest.';

-- The document of a call. What is written there for a parameter is measured as it arrives, before Postgres makes a plan for
-- it, which would hold it twice more. (functions/check_call_size.sql measures.)
create domain loradex.call_document as text;
comment on domain loradex.call_document is 'The JSON document of a call, of at most max_call_bytes.';
