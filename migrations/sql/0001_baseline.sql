-- file: extension.sql
-- pgvector, where the functions look for it: in the schema public, version 0.8.0 or later.
-- Locks: none. Raises: insufficient_privilege where only a superuser may create it; a sentence with the cure otherwise.
do $$
declare
    found record;
begin
    begin
        create extension if not exists vector with schema public;
    exception
        when insufficient_privilege then
            raise insufficient_privilege using message =
                'the extension vector is missing and this user may not create it: '
                'have a superuser run `create extension vector with schema public` in this database';
        when undefined_file or feature_not_supported then
            raise exception 'this server has no pgvector: install it (0.8.4 or later) and upgrade again';
    end;
    select extversion as version, extnamespace::regnamespace::text as schema into found
    from pg_extension where extname = 'vector';
    if found.schema <> 'public' then
        raise exception 'the extension vector lies in schema %; move it: alter extension vector set schema public',
            found.schema;
    end if;
    if string_to_array(found.version, '.')::int[] < array[0, 8, 0] then
        raise exception 'the extension vector is %, 0.8.0 is needed (0.8.4 advised); update it', found.version;
    end if;
end
$$;
-- Only once pgvector's library is loaded may a plain owner set its parameters on a function.
select '[1]'::public.vector;

-- file: roles.sql
-- The four groups that hold all rights. They are cluster-wide and shared by all databases of a cluster, so making them
-- again is no error, not even when two databases are migrated at the same moment. Nobody logs in as a group: logins are
-- members, which inherit its rights and cannot become it (`loradex db login`, SECURITY.md).
do $$
declare
    wanted text;
begin
    foreach wanted in array array['loradex_reader', 'loradex_client', 'loradex_worker', 'loradex_admin'] loop
        begin
            if not exists (select from pg_roles where rolname = wanted) then
                execute format('create role %I nologin nosuperuser nocreatedb nocreaterole', wanted);
            elsif exists (select from pg_roles where rolname = wanted and rolcanlogin) then
                execute format('alter role %I nologin', wanted);
            end if;
        exception
            when duplicate_object or unique_violation then null;
            when insufficient_privilege then
                raise insufficient_privilege using message = format(
                    'the group %s is missing or may log in, and this user may not change that: give it CREATEROLE, or '
                    'create the four groups of db/sql/roles.sql beforehand, with NOLOGIN', wanted);
        end;
    end loop;
end
$$;

-- file: types.sql
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

-- file: tables/owners.sql
-- Who asks: one row per login, known by its role's oid, so that a login that is dropped and made again under the same name
-- is somebody else. Owners of API keys are here too, with the role 0, which no login has.
create table loradex.owners (
    id bigint generated always as identity,
    name text not null,
    role oid not null,
    created_at timestamptz not null default now(),
    constraint owners_pkey primary key (id),
    constraint owners_role_key unique (role, name)
);
comment on table loradex.owners is
    'Who asks: one row per login or owner of API keys, never used for another one.';
comment on column loradex.owners.id is 'the owner of jobs and answers';
comment on column loradex.owners.name is 'name of the login when it asked first, or of the owner of API keys';
comment on column loradex.owners.role is 'oid of the login''s role; 0: an owner of API keys';
comment on column loradex.owners.created_at is 'when it asked first';

-- file: tables/api_keys.sql
-- Keys of the HTTP API: who holds one acts for its owner. The key itself is never here, only its hash; a key is 256 random
-- bits, so its hash tells nothing about it.
create table loradex.api_keys (
    id bigint generated always as identity,
    owner_id bigint not null,
    name text not null,
    key_hash bytea not null,
    old_key_hash bytea,
    old_until timestamptz,
    scopes text[] not null,
    created_at timestamptz not null default now(),
    created_by text not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    requests_a_minute int,
    max_waiting int,
    constraint api_keys_pkey primary key (id),
    constraint api_keys_key_hash_key unique (key_hash),
    constraint api_keys_key_hash_check check (octet_length(key_hash) = 32),
    constraint api_keys_old_key_hash_key unique (old_key_hash),
    constraint api_keys_old_key_hash_check check (octet_length(old_key_hash) = 32),
    constraint api_keys_old_until_check check ((old_key_hash is null) = (old_until is null)),
    constraint api_keys_requests_a_minute_check check (requests_a_minute between 1 and 1000000),
    constraint api_keys_max_waiting_check check (max_waiting between 1 and 100000000),
    constraint api_keys_owner_id_fkey foreign key (owner_id) references loradex.owners(id),
    constraint api_keys_scopes_check check (cardinality(scopes) > 0 and scopes <@ array['ask', 'read'])
);
comment on table loradex.api_keys is
    'Keys of the HTTP API; who holds one acts for its owner.';
comment on column loradex.api_keys.id is 'what it is revoked by';
comment on column loradex.api_keys.owner_id is 'whose jobs and answers it reaches';
comment on column loradex.api_keys.name is 'what people call it';
comment on column loradex.api_keys.key_hash is 'SHA-256 of the key';
comment on column loradex.api_keys.old_key_hash is 'SHA-256 of the key before it was rotated; null: it was not';
comment on column loradex.api_keys.old_until is 'until when the key of before is good too';
comment on column loradex.api_keys.scopes is 'ask: hand jobs in, cancel them, and see what came of them; read: see only';
comment on column loradex.api_keys.created_at is 'when it was made';
comment on column loradex.api_keys.created_by is 'login that made it';
comment on column loradex.api_keys.expires_at is 'from when on it is refused; null: never';
comment on column loradex.api_keys.revoked_at is 'when it was revoked; null: it was not';
comment on column loradex.api_keys.requests_a_minute is 'requests it may make a minute; null: any number';
comment on column loradex.api_keys.max_waiting is 'jobs handed in with it that may wait at once; null: any number';
comment on column loradex.api_keys.last_used_at is 'when it was used last, to the minute; null: never';
create index api_keys_owner_index on loradex.api_keys (owner_id);

-- file: tables/api_key_rates.sql
-- How much of its requests a minute each API key has used up, written by take_requests alone. Apart from the keys, since it
-- changes far more often; unlogged, since after a crash everybody may begin with a full minute.
create unlogged table loradex.api_key_rates (
    key_id bigint not null,
    full_at timestamptz not null,
    constraint api_key_rates_pkey primary key (key_id)
)
with (fillfactor = 50);
comment on table loradex.api_key_rates is
    'When each API key with a limit may make a whole minute''s requests again; only take_requests comes here.';
comment on column loradex.api_key_rates.key_id is 'the key';
comment on column loradex.api_key_rates.full_at is 'each request granted puts it off by a minute divided by the limit';

-- file: tables/tenant_secret.sql
-- What authenticate seals with, so that no session can say by itself for whom it acts. One row; no role may read it.
create table loradex.tenant_secret (
    one boolean not null default true,
    inner_key bytea not null,
    outer_key bytea not null,
    constraint tenant_secret_pkey primary key (one),
    constraint tenant_secret_one_check check (one),
    constraint tenant_secret_length_check check (octet_length(inner_key) = 64 and octet_length(outer_key) = 64)
);
comment on table loradex.tenant_secret is
    'What authenticate seals with; no role may read it.';
comment on column loradex.tenant_secret.one is 'there is one row';
comment on column loradex.tenant_secret.inner_key is
    'random bytes, made with the schema, as HMAC puts them before what it seals: filled up to a block, and changed';
comment on column loradex.tenant_secret.outer_key is
    'the same bytes as HMAC puts them before the inner hash; both are kept, since making them takes 0.1 ms each time';

-- file: tables/base_models.sql
-- Causal language models that adapters were trained for.
create table loradex.base_models (
    name text not null,
    revision text not null,
    context_length int not null,
    frame text not null,
    created_at timestamptz not null default now(),
    retired_at timestamptz,
    modules jsonb,
    chat_template text,
    system_role boolean not null default false,
    generation_defaults jsonb,
    constraint base_models_pkey primary key (name),
    constraint base_models_context_length_check check (context_length > 0),
    constraint base_models_frame_check check (position('{prompt}' in frame) > 0)
);
comment on table loradex.base_models is
    'Causal language models that adapters were trained for.';
comment on column loradex.base_models.name is 'what jobs and adapters call it';
comment on column loradex.base_models.revision is 'content hash or hub revision of the weights';
comment on column loradex.base_models.context_length is 'tokens of prompt and answer together';
comment on column loradex.base_models.frame is 'text the model reads, with {prompt} in place of the prompt';
comment on column loradex.base_models.created_at is 'when the row was written';
comment on column loradex.base_models.retired_at is 'since when no job may name it; null: jobs may';
comment on column loradex.base_models.modules is
    'modules an adapter may change, with the sizes [d_out, d_in] of their weights; null: nobody told yet';
comment on column loradex.base_models.chat_template is
    'Jinja template that conversations are read by; null: they are refused, but for a single message';
comment on column loradex.base_models.system_role is 'whether it takes a system message';
comment on column loradex.base_models.generation_defaults is
    'settings its texts are written with where a job does not say them, of its own generation_config.json; null: none';

-- file: tables/base_model_aliases.sql
-- Other names of base models, as adapters' configurations write them.
create table loradex.base_model_aliases (
    alias text not null,
    base_model text not null,
    created_at timestamptz not null default now(),
    constraint base_model_aliases_pkey primary key (alias),
    constraint base_model_aliases_base_model_fkey foreign key (base_model) references loradex.base_models(name)
);
comment on table loradex.base_model_aliases is
    'Other names of base models, as adapters'' configurations write them.';
comment on column loradex.base_model_aliases.alias is 'the other name, in small letters';
comment on column loradex.base_model_aliases.base_model is 'base model that is meant';
comment on column loradex.base_model_aliases.created_at is 'when the row was written';

-- file: tables/encoders.sql
-- Sentence encoders; `register_encoder` also makes their index.
create table loradex.encoders (
    name text not null,
    revision text not null,
    dimensions int not null,
    created_at timestamptz not null default now(),
    retired_at timestamptz,
    constraint encoders_pkey primary key (name),
    constraint encoders_dimensions_check check (dimensions between 1 and 4000)
);
comment on table loradex.encoders is
    'Sentence encoders; each has one partial HNSW index on example_embeddings.';
comment on column loradex.encoders.name is 'what jobs and vectors call it';
comment on column loradex.encoders.revision is 'content hash or hub revision of the weights';
comment on column loradex.encoders.dimensions is 'length of its vectors';
comment on column loradex.encoders.created_at is 'when the row was written';
comment on column loradex.encoders.retired_at is 'since when no job may name it; null: jobs may';

-- file: tables/tasks.sql
-- Data sets with their cards: prompt template, choices, metric, source.
create table loradex.tasks (
    name text not null,
    family text not null,
    metric text not null,
    card jsonb not null default '{}',
    created_at timestamptz not null default now(),
    constraint tasks_pkey primary key (name)
);
comment on table loradex.tasks is
    'Data sets that examples come from and adapters were trained on.';
comment on column loradex.tasks.name is 'such as rte';
comment on column loradex.tasks.family is 'such as nli';
comment on column loradex.tasks.metric is 'accuracy, exact_match, f1, rouge_l or bleu';
comment on column loradex.tasks.card is 'the task card';
comment on column loradex.tasks.created_at is 'when the row was written';

-- file: tables/methods.sql
-- Ways to get from neighbours to a mixture; rows/methods.sql fills it.
create table loradex.methods (
    name text not null,
    selection text not null,
    merge text not null,
    calibrated boolean not null default false,
    description text not null,
    constraint methods_pkey primary key (name),
    constraint methods_selection_check check (
        selection in ('none', 'named', 'first', 'all', 'nucleus', 'affinity')),
    constraint methods_merge_check check (merge in ('cat', 'linear', 'ties', 'ties_frequency', 'magnitude_prune'))
);
comment on table loradex.methods is
    'Ways to compose adapters: the only list of them.';
comment on column loradex.methods.name is 'what jobs call it';
comment on column loradex.methods.selection is 'which adapters take part: none, named (by the job), first, all (alike), nucleus (by weight), affinity (by what was measured)';
comment on column loradex.methods.merge is 'how their factors become one update; cat is the exact weighted sum of the updates';
comment on column loradex.methods.calibrated is 'whether the result is rescaled to the weighted mean norm of its adapters';
comment on column loradex.methods.description is 'what it does, in a few words';

-- file: tables/settings.sql
-- What a job may say, how much the queue takes and how routing weighs: every setting's type, range, default and meaning, declared once.
-- rows/settings.sql fills it; change_setting changes `value` and `maximum`.
create table loradex.settings (
    name text not null,
    kind text not null,
    type text not null,
    value jsonb,
    minimum numeric,
    above numeric,
    maximum numeric,
    longest int,
    options text[],
    names text,
    description text not null,
    changed_at timestamptz,
    changed_by text,
    constraint settings_pkey primary key (name),
    constraint settings_kind_check check (kind in ('job', 'limit', 'routing')),
    constraint settings_type_check check (type in ('text', 'texts', 'strings', 'pairs', 'numbers', 'number', 'integer', 'boolean', 'messages')),
    constraint settings_limit_check check (kind = 'job' or (type = 'integer' and value is not null)),
    constraint settings_names_check check (names in ('methods', 'base_models', 'encoders', 'tasks', 'adapters'))
);
comment on table loradex.settings is
    'What a job may say, with ranges and defaults, how much the queue takes and how routing weighs: declared once.';
comment on column loradex.settings.name is 'such as k; for a job it is the field of the JSON document';
comment on column loradex.settings.kind is 'job: what a job may say, value is its default; limit: value is the limit; routing: of all jobs alike';
comment on column loradex.settings.type is
    'text, texts (a list), strings (texts of which white space is part), pairs (an object of texts), numbers (an object, whole number to number), messages, number, integer or boolean';
comment on column loradex.settings.value is 'the default, or the value; null: no default';
comment on column loradex.settings.minimum is 'least number, characters of a text, texts of a list, messages, or pairs';
comment on column loradex.settings.above is 'the number must be greater than this';
comment on column loradex.settings.maximum is 'greatest number, characters of a text, texts of a list, messages, or pairs';
comment on column loradex.settings.longest is 'characters of all texts of a list or all messages together, or of the text of a pair; of numbers how far from 0 each may be';
comment on column loradex.settings.options is 'the only texts it may have; null: any';
comment on column loradex.settings.names is 'table whose names it must be one of; null: any text';
comment on column loradex.settings.description is 'what it means';
comment on column loradex.settings.changed_at is 'when it was changed last; null: as it came';
comment on column loradex.settings.changed_by is 'who changed it last';

-- file: tables/adapters.sql
-- LoRA adapters: what they are, where they lie, whether they are active.
create table loradex.adapters (
    id bigint generated always as identity,
    name text not null,
    version int not null,
    task text not null,
    base_model text not null,
    sha256 character(64) not null,
    uri text not null,
    rank int not null,
    alpha float8 not null,
    target_modules text[] not null,
    dtype text not null,
    parameters bigint not null,
    update_norm float8 not null,
    trained_on text[] not null default '{}',
    state text not null default 'staged',
    share float8 not null default 0,
    card jsonb not null default '{}',
    registered_at timestamptz not null default now(),
    retired_at timestamptz,
    constraint adapters_base_model_task_sha256_key unique (base_model, task, sha256),
    constraint adapters_name_version_key unique (name, version),
    constraint adapters_pkey primary key (id),
    constraint adapters_positive_check check (version > 0 and rank > 0 and parameters > 0),
    constraint adapters_retired_at_check check ((state = 'retired') = (retired_at is not null)),
    constraint adapters_sha256_check check (sha256 ~ '^[0-9a-f]{64}$'),
    constraint adapters_share_check check (share between 0 and 1 and (state = 'active') = (share > 0)),
    constraint adapters_state_check check (state in ('active', 'staged', 'retired')),
    constraint adapters_base_model_fkey foreign key (base_model) references loradex.base_models(name),
    constraint adapters_task_fkey foreign key (task) references loradex.tasks(name)
);
comment on table loradex.adapters is
    'LoRA adapters; only state, share, retired_at and uri ever change. The active ones of a task share its questions.';
comment on column loradex.adapters.id is 'internal id';
comment on column loradex.adapters.name is 'what people call it, the same for all versions';
comment on column loradex.adapters.version is '1, 2, ... within the name';
comment on column loradex.adapters.task is 'task it answers: the one it was trained on';
comment on column loradex.adapters.base_model is 'model it was trained for';
comment on column loradex.adapters.sha256 is 'content hash of its two files, hex';
comment on column loradex.adapters.uri is 'where a worker finds the directory';
comment on column loradex.adapters.rank is 'LoRA rank r';
comment on column loradex.adapters.alpha is 'LoRA alpha; scaling is alpha / r';
comment on column loradex.adapters.target_modules is 'names of the layers it updates';
comment on column loradex.adapters.dtype is 'dtype of its tensors on disk';
comment on column loradex.adapters.parameters is 'numbers in its tensors';
comment on column loradex.adapters.update_norm is 'Frobenius norm of what its factors add';
comment on column loradex.adapters.trained_on is 'tasks it was trained on beside its own, as declared';
comment on column loradex.adapters.state is 'active: it answers; staged: it waits to be activated; retired: it answers no more';
comment on column loradex.adapters.share is
    'part of its task''s questions that are its; those of a task''s active adapters sum to 1; 0 unless active';
comment on column loradex.adapters.card is 'how it was trained';
comment on column loradex.adapters.registered_at is 'when it was registered';
comment on column loradex.adapters.retired_at is 'when it was retired; null unless retired';
create index adapters_active_index on loradex.adapters (base_model, task) where (state = 'active');

-- file: tables/task_affinities.sql
-- How well an adapter answers a task's questions, as measured.
create table loradex.task_affinities (
    task text not null,
    adapter_id bigint not null,
    score float8 not null,
    n int not null,
    measured_at timestamptz not null default now(),
    constraint task_affinities_pkey primary key (task, adapter_id),
    constraint task_affinities_n_check check (n > 0),
    constraint task_affinities_score_check check (score between 0 and 1),
    constraint task_affinities_adapter_id_fkey foreign key (adapter_id) references loradex.adapters(id),
    constraint task_affinities_task_fkey foreign key (task) references loradex.tasks(name)
);
comment on table loradex.task_affinities is
    'How well each adapter answers each task, on rows that no adapter was trained on.';
comment on column loradex.task_affinities.task is 'whose rows were asked';
comment on column loradex.task_affinities.adapter_id is 'the adapter that answered';
comment on column loradex.task_affinities.score is 'how well, from 0 to 1';
comment on column loradex.task_affinities.n is 'rows asked';
comment on column loradex.task_affinities.measured_at is 'when';

-- file: tables/examples.sql
-- Training examples; texts may be missing until they are hydrated.
create table loradex.examples (
    id bigint generated always as identity,
    task text not null,
    source_ref text not null,
    prompt text,
    target text,
    sha256 character(64) not null,
    created_at timestamptz not null default now(),
    constraint examples_id_task_key unique (id, task),
    constraint examples_pkey primary key (id),
    constraint examples_task_source_ref_key unique (task, source_ref),
    constraint examples_sha256_check check (
        prompt is null or sha256 = encode(sha256(convert_to(prompt || chr(31) || target, 'UTF8')), 'hex')),
    constraint examples_text_check check ((prompt is null) = (target is null)),
    constraint examples_task_fkey foreign key (task) references loradex.tasks(name)
);
comment on table loradex.examples is
    'Training examples; prompt and target are null until hydrated from the source.';
comment on column loradex.examples.id is 'internal id';
comment on column loradex.examples.task is 'task it belongs to';
comment on column loradex.examples.source_ref is 'its id in the data set, such as rte-train-511';
comment on column loradex.examples.prompt is 'rendered prompt, the text that was embedded';
comment on column loradex.examples.target is 'right answer';
comment on column loradex.examples.sha256 is 'SHA-256 of prompt, 0x1f, target in UTF-8, hex';
comment on column loradex.examples.created_at is 'when the row was written';

-- file: tables/example_embeddings.sql
-- Vectors of examples, per encoder.
create table loradex.example_embeddings (
    example_id bigint not null,
    encoder text not null,
    task text not null,
    embedding public.vector not null,
    duplicate_of bigint,
    constraint example_embeddings_pkey primary key (example_id, encoder),
    constraint example_embeddings_direction_check check (public.vector_norm(embedding) between 0.01 and 10000),
    constraint example_embeddings_duplicate_of_encoder_fkey foreign key (duplicate_of, encoder)
        references loradex.example_embeddings(example_id, encoder) on delete set null (duplicate_of),
    constraint example_embeddings_encoder_fkey foreign key (encoder) references loradex.encoders(name),
    constraint example_embeddings_example_id_task_fkey foreign key (example_id, task) references loradex.examples(id, task) on delete cascade
);
comment on table loradex.example_embeddings is
    'Vectors of examples; one partial HNSW cosine index an encoder (see register_encoder).';
comment on column loradex.example_embeddings.example_id is 'the example';
comment on column loradex.example_embeddings.encoder is 'what made the vector';
comment on column loradex.example_embeddings.task is 'the example''s task, repeated for filters';
comment on column loradex.example_embeddings.embedding is 'the vector of the prompt';
comment on column loradex.example_embeddings.duplicate_of is 'near duplicate that is in the index for it; null: it is there itself';
create index example_embeddings_duplicate_index on loradex.example_embeddings (duplicate_of, encoder) where (duplicate_of is not null);
create index example_embeddings_encoder_task_index on loradex.example_embeddings (encoder, task, duplicate_of);

-- file: tables/projections.sql
-- The two directions in which the vectors of an encoder's examples differ most, to draw them as a map. Made by
-- `loradex map build`; one row an encoder.
create table loradex.projections (
    encoder text not null,
    method text not null,
    examples bigint not null,
    first public.vector not null,
    second public.vector not null,
    first_offset float8 not null,
    second_offset float8 not null,
    reach float8 not null,
    explained float8 not null,
    created_at timestamptz not null default now(),
    constraint projections_pkey primary key (encoder),
    constraint projections_encoder_fkey foreign key (encoder) references loradex.encoders(name),
    constraint projections_method_check check (method in ('pca')),
    constraint projections_reach_check check (reach > 0)
);
comment on table loradex.projections is
    'The plane in which the examples of an encoder are drawn as a map; made by loradex map build.';
comment on column loradex.projections.encoder is 'what made the vectors';
comment on column loradex.projections.method is 'pca: the two directions of the largest variance';
comment on column loradex.projections.examples is 'examples that there were when it was made';
comment on column loradex.projections.first is 'the first direction, of length one';
comment on column loradex.projections.second is 'the second direction, of length one';
comment on column loradex.projections.first_offset is 'inner product of the mean vector and the first direction';
comment on column loradex.projections.second_offset is 'inner product of the mean vector and the second direction';
comment on column loradex.projections.reach is 'the farthest coordinate of an example from 0';
comment on column loradex.projections.explained is 'share of the variance in these two directions, 0 to 1';
comment on column loradex.projections.created_at is 'when it was made';

-- file: tables/projected_examples.sql
-- Where each example lies in the plane of its encoder (projections), and what is odd about it.
create table loradex.projected_examples (
    example_id bigint not null,
    encoder text not null,
    task text not null,
    x real not null,
    y real not null,
    near_duplicate boolean not null,
    looks_like text,
    constraint projected_examples_pkey primary key (encoder, example_id),
    constraint projected_examples_encoder_fkey foreign key (encoder)
        references loradex.projections(encoder) on delete cascade,
    constraint projected_examples_example_id_encoder_fkey foreign key (example_id, encoder)
        references loradex.example_embeddings(example_id, encoder) on delete cascade
);
comment on table loradex.projected_examples is
    'Where each example lies on the map of its encoder; made by loradex map build.';
comment on column loradex.projected_examples.example_id is 'the example';
comment on column loradex.projected_examples.encoder is 'what made its vector';
comment on column loradex.projected_examples.task is 'the example''s task, repeated for the map';
comment on column loradex.projected_examples.x is 'place along the first direction';
comment on column loradex.projected_examples.y is 'place along the second direction';
comment on column loradex.projected_examples.near_duplicate is 'whether another example is nearly the same (duplicate_examples)';
comment on column loradex.projected_examples.looks_like is
    'the task that nearly all of its neighbours are of, where that is another (mislabelled_candidates)';
create index projected_examples_example_index on loradex.projected_examples (example_id, encoder);

-- file: tables/jobs.sql
-- One question with its settings, from queued to its end: done, failed, cancelled or expired. Written by the queue's
-- functions only.
create table loradex.jobs (
    id uuid not null default uuidv7(),
    owner_id bigint not null,
    owner text not null,
    api_key_id bigint,
    kind text not null,
    prompt text not null,
    messages jsonb,
    choices text[],
    base_model text not null,
    encoder text not null,
    method text not null,
    adapter text,
    k int not null,
    top_p float8 not null,
    temperature float8 not null,
    exclude_tasks text[] not null,
    exclude_adapters text[] not null,
    settings jsonb not null,
    expected_task text,
    idempotency_key text,
    asked bytea,
    metadata jsonb,
    traceparent text,
    pieces_key uuid,
    priority smallint not null default 0,
    deadline float8,
    queue_position bigint generated always as identity,
    turn bigint not null default 1,
    state text not null default 'queued',
    attempt int not null default 0,
    releases int not null default 0,
    lease_until timestamptz,
    worker text,
    claim_hash bytea,
    held_seconds float8 not null default 0,
    error_code text,
    error_message text,
    cancelled_by text,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    expires_at timestamptz,
    answer_id uuid,
    erased_at timestamptz,
    constraint jobs_pkey primary key (id),
    constraint jobs_choices_check check ((kind = 'choose') = (choices is not null)),
    constraint jobs_error_check check ((state in ('failed', 'cancelled', 'expired')) = (error_code is not null)),
    constraint jobs_cancelled_check check ((state = 'cancelled') = (cancelled_by is not null)),
    constraint jobs_kind_check check (kind in ('generate', 'choose')),
    constraint jobs_lease_check check ((state = 'running') = (lease_until is not null)),
    constraint jobs_state_check check (state in ('queued', 'running', 'done', 'failed', 'cancelled', 'expired')),
    constraint jobs_base_model_fkey foreign key (base_model) references loradex.base_models(name),
    constraint jobs_encoder_fkey foreign key (encoder) references loradex.encoders(name),
    constraint jobs_expected_task_fkey foreign key (expected_task) references loradex.tasks(name),
    constraint jobs_owner_id_fkey foreign key (owner_id) references loradex.owners(id),
    constraint jobs_method_fkey foreign key (method) references loradex.methods(name)
)
-- Each job is written anew two or three times; on its own page that takes a fraction of the WAL.
with (fillfactor = 70);
comment on table loradex.jobs is
    'Questions and how far they are; only the queue functions write here.';
comment on column loradex.jobs.id is 'the job';
comment on column loradex.jobs.owner_id is 'who asked';
comment on column loradex.jobs.owner is 'name of the login, or of the owner of the API key, that asked';
comment on column loradex.jobs.api_key_id is 'the API key it was handed in with; null: a login asked by itself';
comment on column loradex.jobs.kind is 'generate (text) or choose (rank the choices)';
comment on column loradex.jobs.prompt is
    'the question, without the base model''s frame; of a conversation the text that neighbours are searched for';
comment on column loradex.jobs.messages is 'the conversation: an array of role and content; null: there is a prompt alone';
comment on column loradex.jobs.choices is 'answers to rank, for choose';
comment on column loradex.jobs.base_model is 'model that answers';
comment on column loradex.jobs.encoder is 'encoder for retrieval';
comment on column loradex.jobs.method is 'how adapters are mixed';
comment on column loradex.jobs.adapter is 'the adapter of method own';
comment on column loradex.jobs.k is 'neighbours that vote';
comment on column loradex.jobs.top_p is 'probability mass of the tasks that are mixed';
comment on column loradex.jobs.temperature is 'softness of the neighbours'' votes';
comment on column loradex.jobs.exclude_tasks is 'tasks left out, with their examples and the adapters trained on them';
comment on column loradex.jobs.exclude_adapters is 'adapters that may not take part';
comment on column loradex.jobs.settings is 'what else the job says: the settings that have no column here, complete with defaults';
comment on column loradex.jobs.expected_task is 'true task where known';
comment on column loradex.jobs.idempotency_key is 'asking again with it gives this job';
comment on column loradex.jobs.asked is
    'hash of what its asker said of it, where it has an idempotency key: asking again is compared by it';
comment on column loradex.jobs.metadata is 'what the asker noted on it: an object of texts; null if nothing';
comment on column loradex.jobs.traceparent is
    'the W3C trace context that its spans belong to; null: none was told';
comment on column loradex.jobs.pieces_key is
    'where Redis has pieces of its text while it is written, which whoever knows it can read; null: nobody listens';
comment on column loradex.jobs.priority is 'higher goes first';
comment on column loradex.jobs.deadline is 'seconds after which it ends as expired instead of being answered; null: never';
comment on column loradex.jobs.queue_position is 'order of arrival';
comment on column loradex.jobs.turn is
    'its place among those of its priority and models: owners who wait take turns, and each owner''s jobs go in their order';
comment on column loradex.jobs.state is 'queued, running, done, failed, cancelled or expired';
comment on column loradex.jobs.attempt is 'times claimed; fences off late writes';
comment on column loradex.jobs.releases is 'times given back unharmed; these attempts do not count';
comment on column loradex.jobs.lease_until is 'when others may claim a running job';
comment on column loradex.jobs.worker is 'who claimed it last';
comment on column loradex.jobs.claim_hash is 'hash of the login and token that claimed it last (claim_hash)';
comment on column loradex.jobs.held_seconds is 'seconds, to the microsecond, that earlier claims held it';
comment on column loradex.jobs.error_code is 'why it ended without an answer, for programs';
comment on column loradex.jobs.error_message is 'why it ended without an answer, for people';
comment on column loradex.jobs.cancelled_by is
    'login, or owner of the API key, that cancelled it; `erased` once it was erased';
comment on column loradex.jobs.created_at is 'when it was accepted';
comment on column loradex.jobs.started_at is 'when it was claimed last';
comment on column loradex.jobs.finished_at is 'when it ended, however it did';
comment on column loradex.jobs.expires_at is 'its deadline as a time; null: none';
comment on column loradex.jobs.answer_id is 'its answer, once it is done';
comment on column loradex.jobs.erased_at is 'when its texts and its answer''s were erased';
create index jobs_owner_index on loradex.jobs (owner_id, created_at, id);
create index jobs_finished_at_index on loradex.jobs (finished_at) where (finished_at is not null);
create index jobs_unanswered_index on loradex.jobs (finished_at) where (state in ('failed', 'cancelled', 'expired'));
create index jobs_queued_index on loradex.jobs (priority desc, turn, queue_position) where (state = 'queued');
create index jobs_turn_index on loradex.jobs (owner_id, base_model, encoder, priority, turn) where (state = 'queued');
create index jobs_api_key_index on loradex.jobs (api_key_id) where (state = 'queued' and api_key_id is not null);
create index jobs_running_index on loradex.jobs (lease_until) where (state = 'running');
create index jobs_expires_index on loradex.jobs (expires_at) where (expires_at is not null and state in ('queued', 'running'));
create unique index jobs_idempotency_index on loradex.jobs (owner_id, idempotency_key) where (idempotency_key is not null);

-- file: tables/answers.sql
-- Answers with everything that led to them, one row each: append-only, chained by hashes, written by record_answer, and
-- only what tells about whoever asked can be taken out of them again, by erase_jobs.
-- What was a list is an array, in the order of ranks; the views retrievals, retrieved_examples, retrieved_tasks,
-- merge_results and merge_components show it as rows. Answers refer to nothing, so that evidence outlives what it names,
-- and lie in one partition per month of their ids, which are made as they are needed (make_partition).
create table loradex.answers (
    id uuid not null,
    job_id uuid not null,
    owner_id bigint not null,
    owner text not null,
    attempt int not null,
    position bigint not null,
    prompt text,
    messages jsonb,
    text text,
    choice text,
    choices text[],
    stop text[],
    held_to jsonb,
    scores float8[],
    token_ids int[],
    logprobs jsonb,
    prompt_tokens int not null,
    output_tokens int not null,
    base_model text not null,
    base_model_revision text not null,
    generation jsonb not null,
    timings jsonb not null,
    versions jsonb not null,
    worker text not null,
    created_at timestamptz not null,
    query public.vector,
    encoder text not null,
    encoder_revision text not null,
    k int not null,
    top_p float8 not null,
    temperature float8 not null,
    exclude_tasks text[] not null,
    exclude_adapters text[] not null,
    routing_milliseconds float8 not null,
    examples_hash bytea not null,
    example_ids bigint[] not null,
    example_refs text[] not null,
    example_tasks text[] not null,
    similarities float8[] not null,
    tasks text[] not null,
    task_neighbours int[] not null,
    task_similarities float8[] not null,
    probabilities float8[] not null,
    task_weights float8[] not null,
    in_nucleus boolean[] not null,
    recipe_hash bytea not null,
    method text not null,
    merge text not null,
    calibrated boolean not null,
    density float8 not null,
    merge_dtype text not null,
    update_norm float8 not null,
    sign_conflict float8,
    merge_milliseconds float8 not null,
    adapter_ids bigint[] not null,
    adapters text[] not null,
    adapter_versions int[] not null,
    adapter_tasks text[] not null,
    adapter_hashes bytea[] not null,
    adapter_uris text[] not null,
    weights float8[] not null,
    adapter_norms float8[] not null,
    salt bytea,
    commitments jsonb,
    previous_hash bytea not null,
    chain_hash bytea not null,
    constraint answers_pkey primary key (id),
    constraint answers_erased_check check (
        case when commitments is null
            then num_nulls(prompt, text, token_ids, query, salt) = 0
            else num_nonnulls(prompt, messages, choices, stop, held_to, text, choice, token_ids, logprobs, query, salt) = 0 end)
) partition by range (id);
comment on table loradex.answers is
    'Answers and all that led to them, one row each, append-only and hash-chained; partitioned by month.';
comment on column loradex.answers.id is 'the answer; its first 48 bits are the time, so that ids grow';
comment on column loradex.answers.job_id is 'the job it answers; one answer a job';
comment on column loradex.answers.owner_id is 'who asked';
comment on column loradex.answers.owner is 'name of the login that asked';
comment on column loradex.answers.attempt is 'which attempt at the job succeeded';
comment on column loradex.answers.position is 'place in the chain, 1, 2, ... no gaps';
comment on column loradex.answers.prompt is
    'the question as it was asked, of a conversation the text that was embedded; null once it was erased';
comment on column loradex.answers.messages is 'the conversation as it was asked; null: there was a prompt alone';
comment on column loradex.answers.text is 'the answer''s text';
comment on column loradex.answers.choice is 'the choice that won, for choose';
comment on column loradex.answers.choices is 'the choices there were, for choose';
comment on column loradex.answers.stop is 'the stop strings there were';
comment on column loradex.answers.held_to is 'the json_schema or the regex that the text had to fit';
comment on column loradex.answers.scores is 'score of each choice, in the job''s order';
comment on column loradex.answers.token_ids is 'tokens of the answer';
comment on column loradex.answers.logprobs is
    'of each token its id, text, log-probability and the likeliest tokens, where the job asks for them';
comment on column loradex.answers.prompt_tokens is 'tokens of the framed prompt';
comment on column loradex.answers.output_tokens is 'tokens of the answer';
comment on column loradex.answers.base_model is 'model that answered';
comment on column loradex.answers.base_model_revision is 'its revision as the worker found it';
comment on column loradex.answers.generation is 'generation settings, seed, frame, device, dtype, attention, quantization, device_map';
comment on column loradex.answers.timings is 'milliseconds of every stage';
comment on column loradex.answers.versions is 'versions of the programs that took part';
comment on column loradex.answers.worker is 'who answered';
comment on column loradex.answers.created_at is 'when it was recorded';
comment on column loradex.answers.query is 'vector of the prompt';
comment on column loradex.answers.encoder is 'what made the vector';
comment on column loradex.answers.encoder_revision is 'its revision at that time';
comment on column loradex.answers.k is 'neighbours that were asked for';
comment on column loradex.answers.top_p is 'probability mass of the nucleus';
comment on column loradex.answers.temperature is 'softness of the votes';
comment on column loradex.answers.exclude_tasks is 'tasks that were left out';
comment on column loradex.answers.exclude_adapters is 'adapters that might not take part';
comment on column loradex.answers.routing_milliseconds is 'time of this job''s share of the routing batch';
comment on column loradex.answers.examples_hash is 'SHA-256 of its neighbours'' content hashes, by rank, one per line: what their texts were';
comment on column loradex.answers.example_ids is 'the neighbours, nearest first';
comment on column loradex.answers.example_refs is 'their ids in the data set';
comment on column loradex.answers.example_tasks is 'their tasks';
comment on column loradex.answers.similarities is 'cosine of each and the query';
comment on column loradex.answers.tasks is 'tasks of the neighbours, likeliest first';
comment on column loradex.answers.task_neighbours is 'how many neighbours are of each';
comment on column loradex.answers.task_similarities is 'cosine of each one''s nearest';
comment on column loradex.answers.probabilities is 'share of the votes of each; sums to 1';
comment on column loradex.answers.task_weights is 'share after the cut; sums to 1, 0 outside the nucleus';
comment on column loradex.answers.in_nucleus is 'whether each survived the cut';
comment on column loradex.answers.recipe_hash is 'recipe_hash of merge, calibrated, density, dtype and components';
comment on column loradex.answers.method is 'the job''s method';
comment on column loradex.answers.merge is 'how the factors became one update';
comment on column loradex.answers.calibrated is 'whether it was rescaled to the weighted mean norm of its adapters';
comment on column loradex.answers.density is 'share of entries that trimming kept';
comment on column loradex.answers.merge_dtype is 'dtype the factors were merged in';
comment on column loradex.answers.update_norm is 'Frobenius norm of the merged update';
comment on column loradex.answers.sign_conflict is 'share of entries whose signs disagree; null where the method does not look';
comment on column loradex.answers.merge_milliseconds is 'time of the merge';
comment on column loradex.answers.adapter_ids is 'adapters of the mixture, heaviest first';
comment on column loradex.answers.adapters is 'their names';
comment on column loradex.answers.adapter_versions is 'their versions';
comment on column loradex.answers.adapter_tasks is 'their tasks';
comment on column loradex.answers.adapter_hashes is 'their content hashes';
comment on column loradex.answers.adapter_uris is 'where they were found';
comment on column loradex.answers.weights is 'their weights; sum to 1';
comment on column loradex.answers.adapter_norms is 'Frobenius norm of each one''s own update';
comment on column loradex.answers.salt is 'random; keeps what is erased from being guessed from its commitments';
comment on column loradex.answers.commitments is 'of an erased answer: column to salted hash of what it held';
comment on column loradex.answers.previous_hash is 'chain_hash of the link before; zeros for the first';
comment on column loradex.answers.chain_hash is 'SHA-256 of previous_hash and answer_canonical(answer)';
create index answers_job_id_index on loradex.answers (job_id);
create index answers_owner_index on loradex.answers (owner_id, id);
create index answers_position_index on loradex.answers ("position");

-- file: tables/erasures.sql
-- Notes that say what was erased, when, why and by whom: links of the chain, as answers are. Written by erase_jobs only.
create table loradex.erasures (
    id uuid not null,
    position bigint not null,
    answers uuid[] not null,
    reason text not null,
    asked_by text not null,
    login text not null,
    created_at timestamptz not null,
    previous_hash bytea not null,
    chain_hash bytea not null,
    constraint erasures_pkey primary key (id),
    constraint erasures_position_key unique ("position")
);
comment on table loradex.erasures is
    'Notes of what was erased, in the chain of answers; append-only.';
comment on column loradex.erasures.id is 'the note';
comment on column loradex.erasures.position is 'place in the chain, which answers and notes share';
comment on column loradex.erasures.answers is 'the answers whose texts and vectors were erased';
comment on column loradex.erasures.reason is 'why';
comment on column loradex.erasures.asked_by is 'who wanted it';
comment on column loradex.erasures.login is 'name of the login that did it';
comment on column loradex.erasures.created_at is 'when';
comment on column loradex.erasures.previous_hash is 'chain_hash of the link before; zeros for the first';
comment on column loradex.erasures.chain_hash is 'SHA-256 of previous_hash and erasure_canonical(erasure)';

-- file: tables/archives.sql
-- Notes that say which part of the chain was archived and taken out of the database: links of the chain, as answers are.
-- Written by drop_archived only.
create table loradex.archives (
    id uuid not null,
    position bigint not null,
    first_position bigint not null,
    last_position bigint not null,
    last_hash bytea not null,
    answer_count bigint not null,
    before timestamptz not null,
    files jsonb not null,
    login text not null,
    created_at timestamptz not null,
    previous_hash bytea not null,
    chain_hash bytea not null,
    constraint archives_pkey primary key (id),
    constraint archives_position_key unique ("position")
);
comment on table loradex.archives is
    'Notes of what was archived, in the chain of answers; append-only.';
comment on column loradex.archives.id is 'the note';
comment on column loradex.archives.position is 'place in the chain, which answers and notes share';
comment on column loradex.archives.first_position is 'the first link in the archive';
comment on column loradex.archives.last_position is 'the last link in the archive: here the chain in the database begins';
comment on column loradex.archives.last_hash is 'chain_hash of the last link in the archive';
comment on column loradex.archives.answer_count is 'how many answers are in it';
comment on column loradex.archives.before is 'its answers are from before this moment';
comment on column loradex.archives.files is 'SHA-256 (hex) of its files, by name';
comment on column loradex.archives.login is 'name of the login that archived it';
comment on column loradex.archives.created_at is 'when';
comment on column loradex.archives.previous_hash is 'chain_hash of the link before; zeros for the first';
comment on column loradex.archives.chain_hash is 'SHA-256 of previous_hash and archive_canonical(archive)';

-- file: tables/verifications.sql
-- When the chain was last found intact, by login: for monitors, and no evidence. Written by note_verification only.
create table loradex.verifications (
    login text not null,
    verified_at timestamptz not null default now(),
    position bigint not null,
    constraint verifications_pkey primary key (login)
);
comment on table loradex.verifications is
    'When each login last found the chain intact; only note_verification writes here.';
comment on column loradex.verifications.login is 'who looked';
comment on column loradex.verifications.verified_at is 'when it was found intact last';
comment on column loradex.verifications.position is 'position of the head at that time';

-- file: tables/evaluations.sql
-- What `loradex eval` measured.
create table loradex.evaluations (
    id bigint generated always as identity,
    run text not null,
    setting text not null,
    method text not null,
    settings jsonb not null default '{}',
    task text not null,
    n int not null,
    score float8 not null,
    low float8 not null,
    high float8 not null,
    seconds float8 not null,
    git_revision text not null,
    library_hash text not null,
    created_at timestamptz not null default now(),
    constraint evaluations_pkey primary key (id),
    constraint evaluations_n_check check (n > 0)
);
comment on table loradex.evaluations is
    'Scores of evaluation runs; rows are added, never changed.';
comment on column loradex.evaluations.id is 'internal id';
comment on column loradex.evaluations.run is 'the run all its rows share';
comment on column loradex.evaluations.setting is 'such as in-domain or out-of-domain';
comment on column loradex.evaluations.method is 'how adapters were mixed';
comment on column loradex.evaluations.settings is 'k, top_p, temperature, density, seed, ...';
comment on column loradex.evaluations.task is 'task that was scored';
comment on column loradex.evaluations.n is 'questions asked';
comment on column loradex.evaluations.score is 'share answered right';
comment on column loradex.evaluations.low is 'lower end of the confidence interval';
comment on column loradex.evaluations.high is 'upper end of the confidence interval';
comment on column loradex.evaluations.seconds is 'time of this row';
comment on column loradex.evaluations.git_revision is 'revision of the code';
comment on column loradex.evaluations.library_hash is 'hash of the library that answered';
comment on column loradex.evaluations.created_at is 'when the row was written';
create index evaluations_run_index on loradex.evaluations (run);

-- file: tables/feedback.sql
-- How people rated answers: rows are added by rate_answer and never changed; of an owner's ratings of an answer the last
-- one counts. Refers to nothing, as answers do, so that it outlives their archives; the hash says which link was rated.
create table loradex.feedback (
    id bigint generated always as identity,
    answer_id uuid not null,
    chain_hash bytea not null,
    owner_id bigint not null,
    owner text not null,
    login text not null,
    rating smallint not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint feedback_pkey primary key (id),
    constraint feedback_rating_check check (rating in (-1, 1))
);
comment on table loradex.feedback is
    'Ratings of answers by whoever asked; rows are added, never changed, and the last one of an owner counts.';
comment on column loradex.feedback.id is 'grows with each rating';
comment on column loradex.feedback.answer_id is 'the answer that was rated';
comment on column loradex.feedback.chain_hash is 'its link in the audit chain then: what exactly was rated';
comment on column loradex.feedback.owner_id is 'who rated it, and had asked';
comment on column loradex.feedback.owner is 'name of that owner';
comment on column loradex.feedback.login is 'the login that wrote it';
comment on column loradex.feedback.rating is '1: good, -1: bad';
comment on column loradex.feedback.created_at is 'when it was rated';
create index feedback_answer_index on loradex.feedback (answer_id, id);
create index feedback_owner_index on loradex.feedback (owner_id, id);

-- file: tables/routings.sql
-- What route_jobs decided for jobs that are being answered, until record_answer makes it evidence: so no worker is
-- asked what Postgres decided. Unlogged: a crash of Postgres empties it, and the jobs are routed again.
create unlogged table loradex.routings (
    job_id uuid not null,
    attempt int not null,
    query public.vector not null,
    routing jsonb not null,
    constraint routings_pkey primary key (job_id),
    constraint routings_job_id_fkey foreign key (job_id) references loradex.jobs(id) on delete cascade
);
comment on table loradex.routings is
    'What was decided for jobs that are being answered; only route_jobs and record_answer come here.';
comment on column loradex.routings.job_id is 'the job';
comment on column loradex.routings.attempt is 'the attempt it was routed for';
comment on column loradex.routings.query is 'the vector of its prompt';
comment on column loradex.routings.routing is 'neighbours, distribution, mixture and settings, as route_jobs returned them';

-- file: tables/locks.sql
-- Tables without rows, locked by functions: no role has a right on them, so none but the owner can hold these locks.
-- (Advisory locks would be open to every login.)
create table loradex.chain_lock ();
comment on table loradex.chain_lock is
    'Locked by record_answer until it commits, so that answers are chained one after the other.';
create table loradex.queue_lock ();
comment on table loradex.queue_lock is
    'Locked by enqueue_jobs while it counts: shared by small calls, exclusively where the count must be exact.';
-- Made before the first revision runs, by migrations/env.py.
create table if not exists loradex.migration_lock ();

-- file: tables/workers.sql
-- Workers that have announced themselves, each with its last sign of life. Written by announce_worker and withdraw_worker
-- only; a worker that was killed leaves its row behind, silent.
create table loradex.workers (
    name text not null,
    login text not null,
    claim_hash bytea not null,
    base_model text not null,
    encoder text not null,
    device text not null,
    dtype text not null,
    adapter_roots text[] not null,
    batch_rows int not null,
    versions jsonb not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    constraint workers_pkey primary key (name)
) with (fillfactor = 50);
comment on table loradex.workers is
    'Workers that have announced themselves; worker_health says which of them live.';
comment on column loradex.workers.name is 'host, process and a few random letters';
comment on column loradex.workers.login is 'who it is for Postgres';
comment on column loradex.workers.claim_hash is 'hash of its login and its token (claim_hash)';
comment on column loradex.workers.base_model is 'the model it answers with; it takes jobs of this one alone';
comment on column loradex.workers.encoder is 'the encoder it has; it takes jobs of this one alone';
comment on column loradex.workers.device is 'where it computes, such as cpu or cuda';
comment on column loradex.workers.dtype is 'what numbers it computes in';
comment on column loradex.workers.adapter_roots is 'directories below which it finds adapters';
comment on column loradex.workers.batch_rows is 'jobs it answers at once';
comment on column loradex.workers.versions is 'its programs and their versions';
comment on column loradex.workers.started_at is 'when it announced itself first';
comment on column loradex.workers.seen_at is 'its last sign of life';

-- file: tables/embeddings.sql
-- Texts that somebody waits for the vectors of, and the vectors until they are taken: minutes at most. Unlogged, since after
-- a crash whoever waited asks again; only its five functions come here.
create unlogged table loradex.embeddings (
    id uuid not null,
    owner_id bigint not null,
    encoder text not null,
    texts text[],
    vectors public.vector[],
    tokens int,
    refusal text,
    created_at timestamptz not null,
    claimed_at timestamptz,
    constraint embeddings_pkey primary key (id),
    constraint embeddings_state_check check (num_nonnulls(texts, vectors, refusal) = 1),
    constraint embeddings_encoder_fkey foreign key (encoder) references loradex.encoders(name)
);
comment on table loradex.embeddings is
    'Texts that wait for their vectors, and vectors that wait to be taken; only its functions come here.';
comment on column loradex.embeddings.id is 'the request';
comment on column loradex.embeddings.owner_id is 'who asked, and alone may take the vectors';
comment on column loradex.embeddings.encoder is 'what makes the vectors';
comment on column loradex.embeddings.texts is 'the texts, until a worker has read them';
comment on column loradex.embeddings.vectors is 'a vector for each text, in order';
comment on column loradex.embeddings.tokens is 'tokens that were read';
comment on column loradex.embeddings.refusal is 'why there are no vectors';
comment on column loradex.embeddings.created_at is 'when it was asked; after ten minutes it is deleted';
comment on column loradex.embeddings.claimed_at is 'when a worker took it last; after two minutes another may';
create index embeddings_created_at_index on loradex.embeddings (created_at);

-- file: tables/replays.sql
-- Answers that somebody wants computed once more, and how the two compare until that is taken: minutes at most. Unlogged,
-- since after a crash whoever waited asks again; only its seven functions come here. It is no part of the chain.
create unlogged table loradex.replays (
    id uuid not null,
    owner_id bigint not null,
    answer_id uuid not null,
    base_model text not null,
    numbers text not null,
    told jsonb,
    error_code text,
    error_message text,
    worker text,
    claims int not null default 0,
    created_at timestamptz not null,
    claimed_at timestamptz,
    constraint replays_pkey primary key (id),
    constraint replays_state_check check (
        num_nonnulls(told, error_code) <= 1 and (error_code is null) = (error_message is null))
);
comment on table loradex.replays is
    'Answers that wait to be computed once more, and comparisons that wait to be taken; only its functions come here.';
comment on column loradex.replays.id is 'the request';
comment on column loradex.replays.owner_id is 'who asked, and alone may take the comparison';
comment on column loradex.replays.answer_id is 'the answer, one of this owner''s';
comment on column loradex.replays.base_model is 'the model that answered; its workers alone replay';
comment on column loradex.replays.numbers is 'what it computed in, as workers announce it (workers.dtype)';
comment on column loradex.replays.told is 'how the answer and its replay compare';
comment on column loradex.replays.error_code is 'why it could not be replayed, for programs';
comment on column loradex.replays.error_message is 'the same for people';
comment on column loradex.replays.worker is 'who took it last';
comment on column loradex.replays.claims is 'how often a worker took it';
comment on column loradex.replays.created_at is 'when it was asked; after ten minutes it is deleted';
comment on column loradex.replays.claimed_at is 'the worker''s last sign of life; after 30 seconds another may take it';
create index replays_created_at_index on loradex.replays (created_at);

-- file: functions/activate_adapter.sql
-- Makes an adapter active with its share of its task. A share of 1 retires the others; a smaller one leaves them the
-- rest, each in proportion to what it had. Where there are no others, all of the task is its.
-- Locks: the rows of the task's active adapters; its callers lock the task. Raises: LX001 bad share.
create or replace function loradex.activate_adapter(adapter_id bigint, share float8) returns void
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    chosen adapters := (select a from adapters a where a.id = activate_adapter.adapter_id);
    -- What the others have together; null if there are none.
    held float8;
begin
    if (share = 1 or share between 0.0001 and 0.9999) is not true then
        raise exception using errcode = 'LX001', message =
            'a share is a number from 0.0001 to 0.9999, or 1: all of the task, which retires its other adapters';
    end if;
    if share = 1 then
        update adapters a set state = 'retired', share = 0, retired_at = now()
        where a.base_model = chosen.base_model and a.task = chosen.task and a.state = 'active' and a.id <> chosen.id;
    else
        select sum(a.share) into held from adapters a
        where a.base_model = chosen.base_model and a.task = chosen.task and a.state = 'active' and a.id <> chosen.id;
        update adapters a set share = greatest(a.share / held * (1 - activate_adapter.share), 1e-9)
        where a.base_model = chosen.base_model and a.task = chosen.task and a.state = 'active' and a.id <> chosen.id;
    end if;
    update adapters a
    set state = 'active', retired_at = null, share = case when held is null then 1 else activate_adapter.share end
    where a.id = chosen.id;
end
$$;
comment on function loradex.activate_adapter(bigint, float8) is
    'Makes an adapter active with its share of its task, and retires the others or leaves them the rest; internal.';
revoke execute on function loradex.activate_adapter(bigint, float8) from public;

-- file: functions/adapter_draw.sql
-- When an adapter comes in, in the race for a job among the active adapters that share a task: the smallest number wins.
-- It is -ln(u) / share, where u is a hash of job and adapter, so each wins as often as its share says, and one job is
-- always won by the same one. The number depends on no other adapter: if one comes or goes, only its own jobs change
-- hands. Without a job it is the mean, 1 / share, which the largest share wins.
-- Locks: none. Raises: nothing.
create or replace function loradex.adapter_draw(job_id uuid, sha256 text, share float8) returns float8
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select case
        when adapter_draw.share > 0 is not true then null
        when job_id is null then 1 / share
        -- The first 52 bits as a number between 0 and 1, never either.
        else -ln(((('x' || left(encode(sha256(convert_to(job_id || ' ' || adapter_draw.sha256, 'UTF8')), 'hex'), 13))
                   ::bit(52)::bigint + 0.5) / 2 ^ 52)::float8) / share
        end
$$;
comment on function loradex.adapter_draw(uuid, text, float8) is
    'The number an adapter (by its content hash) draws for a job with its share; of a task''s adapters the smallest wins.';
revoke execute on function loradex.adapter_draw(uuid, text, float8) from public;
grant execute on function loradex.adapter_draw(uuid, text, float8) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/adapter_mixture.sql
-- The adapters that answer a query, with their weights (which sum to 1), heaviest first; no rows if there is nothing
-- to mix. Tasks without an active, allowed adapter give their mass to the others before the nucleus is cut. Of adapters
-- that share a task, the one that `job_id` draws is taken; without a job, the one with the largest share.
-- Locks: none. Raises: LX001 bad setting; LX002 unknown encoder, base model, task or adapter; LX005 bad vector.
create or replace function loradex.adapter_mixture(
    query public.vector,
    base_model text,
    k int default 32,
    top_p float8 default 0.9,
    temperature float8 default 0.1,
    encoder text default 'all-MiniLM-L6-v2',
    exclude_tasks text[] default '{}',
    exclude_adapters text[] default '{}',
    job_id uuid default null
) returns table (rank int, adapter_id bigint, adapter text, task text, sha256 text, weight float8)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    request route_request := row(1, query, k, top_p, temperature, exclude_tasks, base_model, exclude_adapters,
                                  job_id);
    neighbours neighbour[];
begin
    if base_model is null then
        raise exception using errcode = 'LX002', message = 'base_model is null; name one of loradex.base_models';
    end if;
    perform check_routing(k, top_p, temperature, exclude_tasks, base_model, exclude_adapters);
    perform check_vector(query, encoder);
    neighbours := search_examples(array[request], encoder);
    return query
    select (row_number() over (order by m.rank))::int, m.adapter_id, m.adapter, m.task, m.sha256, m.weight
    from mix_neighbours(array[request], neighbours) m
    where m.in_nucleus
    order by m.rank;
end
$$;
comment on function loradex.adapter_mixture(public.vector, text, int, float8, float8, text, text[], text[], uuid) is
    'Adapters that answer the query, with weights that sum to 1, heaviest first.';
revoke execute on function
    loradex.adapter_mixture(public.vector, text, int, float8, float8, text, text[], text[], uuid) from public;
grant execute on function loradex.adapter_mixture(public.vector, text, int, float8, float8, text, text[], text[], uuid)
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/adapter_mixtures.sql
-- What adapter_mixture says, for many queries in one statement: `ordinal` is the place of the query, from 1. From 32
-- queries on several processes search, so 64 take less than half the time of 64 calls. Of adapters that share a task it
-- takes the one with the largest share.
-- Locks: none. Raises: LX001 bad setting, or null for the queries; LX002 unknown encoder, base model, task or adapter;
-- LX005 bad vector.
create or replace function loradex.adapter_mixtures(
    queries public.vector[],
    base_model text,
    k int default 32,
    top_p float8 default 0.9,
    temperature float8 default 0.1,
    encoder text default 'all-MiniLM-L6-v2',
    exclude_tasks text[] default '{}',
    exclude_adapters text[] default '{}'
) returns table (ordinal int, rank int, adapter_id bigint, adapter text, task text, sha256 text, weight float8)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    requests route_request[];
    neighbours neighbour[];
begin
    if queries is null then
        raise exception using errcode = 'LX001', message = 'queries is null; give an array of vectors';
    end if;
    if base_model is null then
        raise exception using errcode = 'LX002', message = 'base_model is null; name one of loradex.base_models';
    end if;
    perform check_routing(k, top_p, temperature, exclude_tasks, base_model, exclude_adapters);
    perform check_vector(q.query, encoder) from unnest(queries) q(query);
    select array_agg(row(q.place, q.query, k, top_p, temperature, exclude_tasks, base_model, exclude_adapters,
                         null)::route_request order by q.place)
    into requests
    from unnest(queries) with ordinality q(query, place);
    if requests is null then
        return;
    end if;
    neighbours := search_examples(requests, encoder);
    return query
    select m.ordinal, (row_number() over (partition by m.ordinal order by m.rank))::int, m.adapter_id, m.adapter,
           m.task, m.sha256, m.weight
    from mix_neighbours(requests, neighbours) m
    where m.in_nucleus
    order by m.ordinal, m.rank;
end
$$;
comment on function loradex.adapter_mixtures(public.vector[], text, int, float8, float8, text, text[], text[]) is
    'Adapters that answer each of many queries, with weights that sum to 1, heaviest first.';
revoke execute on function
    loradex.adapter_mixtures(public.vector[], text, int, float8, float8, text, text[], text[]) from public;
grant execute on function loradex.adapter_mixtures(public.vector[], text, int, float8, float8, text, text[], text[])
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/affinity_mixture.sql
-- The adapters the affinity methods take for a query: those measured to answer best where its neighbours come from,
-- with their share before the nucleus is cut (mass) and weights that sum to 1, heaviest first; no rows if nothing is
-- near or allowed. Of adapters that share a task, the one that `job_id` draws is taken; without a job, the one with the
-- largest share.
-- Locks: none. Raises: LX001 bad setting; LX002 unknown encoder, base model, task or adapter; LX005 bad vector.
create or replace function loradex.affinity_mixture(
    query public.vector,
    base_model text,
    k int default 32,
    top_p float8 default 0.9,
    temperature float8 default 0.1,
    encoder text default 'all-MiniLM-L6-v2',
    exclude_tasks text[] default '{}',
    exclude_adapters text[] default '{}',
    job_id uuid default null
) returns table (
    rank int, adapter_id bigint, adapter text, task text, sha256 text, mass float8, weight float8
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    request route_request := row(1, query, k, top_p, temperature, exclude_tasks, base_model, exclude_adapters,
                                  job_id);
    neighbours neighbour[];
begin
    if base_model is null then
        raise exception using errcode = 'LX002', message = 'base_model is null; name one of loradex.base_models';
    end if;
    perform check_routing(k, top_p, temperature, exclude_tasks, base_model, exclude_adapters);
    perform check_vector(query, encoder);
    neighbours := search_examples(array[request], encoder);
    return query
    select m.rank, m.adapter_id, m.adapter, m.task, m.sha256, m.mass, m.weight
    from mix_affinities(array[request], neighbours) m
    order by m.rank;
end
$$;
comment on function loradex.affinity_mixture(public.vector, text, int, float8, float8, text, text[], text[], uuid) is
    'Adapters measured to answer best where the query''s neighbours come from, with weights that sum to 1.';
revoke execute on function
    loradex.affinity_mixture(public.vector, text, int, float8, float8, text, text[], text[], uuid) from public;
grant execute on function loradex.affinity_mixture(public.vector, text, int, float8, float8, text, text[], text[], uuid)
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/alias_base_model.sql
-- Makes another name of a base model known, for adapters whose configurations call it so. A name that meant another
-- model means this one from now on; adapters that are registered stay as they are.
-- Locks: the row of the name. Raises: LX001 bad name, or a base model's own; LX002 unknown base model.
create or replace function loradex.alias_base_model(alias text, base_model text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if coalesce(alias, '') !~ '^[^[:cntrl:]]{1,200}$' then
        raise exception using errcode = 'LX001', message =
            'an alias of a base model is 1 to 200 characters';
    end if;
    if not exists (select from base_models m where m.name = alias_base_model.base_model) then
        raise exception using errcode = 'LX002', message = format(
            'no base model %s; known are: %s', shown(base_model),
            coalesce((select string_agg(m.name, ', ' order by m.name) from base_models m), 'none yet'));
    end if;
    if exists (select from base_models m where lower(m.name) = lower(alias_base_model.alias)) then
        raise exception using errcode = 'LX001', message = format(
            '%s is a base model itself, and cannot mean another', shown(alias));
    end if;
    insert into base_model_aliases as a (alias, base_model)
    values (lower(alias_base_model.alias), alias_base_model.base_model)
    on conflict on constraint base_model_aliases_pkey do update set base_model = excluded.base_model;
end
$$;
comment on function loradex.alias_base_model(text, text) is
    'Makes another name of a base model known, for adapters whose configurations call it so.';
revoke execute on function loradex.alias_base_model(text, text) from public;
grant execute on function loradex.alias_base_model(text, text) to loradex_admin;

-- file: functions/announce_worker.sql
-- Says that a worker lives, and what it can do. A worker calls it at its start and every few seconds; a worker that is
-- silent for longer than the setting worker_silence_seconds counts as gone. Then its name is its login's again: a worker
-- that was killed and is started anew under a fixed name has another token. Jobs that the gone one claimed stay bound to
-- its own token. Rows of workers that were silent for a day are removed on the way, and anybody may take their names.
-- Locks: the worker's row. Raises: LX001 a bad value, a name that is another worker's, too many workers of one login.
create or replace function loradex.announce_worker(
    worker text, base_model text, encoder text, device text, dtype text, adapter_roots text[], batch_rows int,
    versions jsonb, token text default null
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    mine bytea := claim_hash(token);
    most int := (select s.value from settings s where s.name = 'max_workers');
    silence interval := (
        select make_interval(secs => s.value::float8) from settings s where s.name = 'worker_silence_seconds');
    complaint text := case
        when exists (
            select from unnest(array[worker, announce_worker.base_model, announce_worker.encoder,
                                     announce_worker.device, announce_worker.dtype]) t(said)
            where coalesce(length(t.said), 0) not between 1 and 200)
            then 'worker, base_model, encoder, device and dtype are texts of 1 to 200 characters'
        when announce_worker.adapter_roots is null or cardinality(announce_worker.adapter_roots) > 100 or exists (
            select from unnest(announce_worker.adapter_roots) r(root)
            where coalesce(length(r.root), 0) not between 1 and 4096)
            then 'adapter_roots are at most 100 texts of 1 to 4096 characters'
        when coalesce(announce_worker.batch_rows, 0) < 1 then 'batch_rows is 1 or more'
        when jsonb_typeof(announce_worker.versions) is distinct from 'object'
             or pg_column_size(announce_worker.versions) > 10000
             or exists (select from jsonb_each(announce_worker.versions) v where jsonb_typeof(v.value) <> 'string')
            then 'versions is an object of texts, of at most 10000 bytes'
        end;
begin
    if complaint is not null then
        raise exception using errcode = 'LX001', message = format('a worker cannot be announced so: %s', complaint);
    end if;

    -- Judged by the row itself, which is read anew if it was waited for: a worker may speak in that moment.
    update workers w
    set claim_hash = mine, started_at = case when w.claim_hash = mine then w.started_at else now() end,
        base_model = announce_worker.base_model, encoder = announce_worker.encoder, device = announce_worker.device,
        dtype = announce_worker.dtype, adapter_roots = announce_worker.adapter_roots,
        batch_rows = announce_worker.batch_rows, versions = announce_worker.versions, seen_at = now()
    where w.name = worker
      and (w.claim_hash = mine or (w.login = session_user and w.seen_at <= now() - silence));
    if found then
        return;
    end if;

    delete from workers w where w.seen_at < now() - interval '1 day';
    if (select count(*) from workers w where w.login = session_user) >= most then
        raise exception using errcode = 'LX001', message = format(
            '%s workers of %s are announced, and no more may be (setting max_workers)', most, session_user);
    end if;
    insert into workers (name, login, claim_hash, base_model, encoder, device, dtype, adapter_roots, batch_rows, versions)
    values (worker, session_user, mine, announce_worker.base_model, announce_worker.encoder, announce_worker.device,
            announce_worker.dtype, announce_worker.adapter_roots, announce_worker.batch_rows, announce_worker.versions);
exception
    when unique_violation then
        raise exception using errcode = 'LX001', message = format(
            'another worker is announced as %s; give each a name of its own (once that one was silent for '
            'worker_silence_seconds, its login may take the name)', shown(worker));
end
$$;
comment on function loradex.announce_worker(text, text, text, text, text, text[], int, jsonb, text) is
    'Says that a worker lives, with what it can do; called every few seconds.';
revoke execute on function
    loradex.announce_worker(text, text, text, text, text, text[], int, jsonb, text) from public;
grant execute on function
    loradex.announce_worker(text, text, text, text, text, text[], int, jsonb, text) to loradex_worker;

-- file: functions/answer_canonical.sql
-- The text that an answer's hash covers: every column of the answer but the hash itself, as JSON with sorted keys. What
-- can be erased stands there by its commitment, and the salt, which goes with it, does not stand there. It takes the row,
-- not the id, because record_answer needs the text before the row exists.
-- All settings that shape the text of a value are pinned. A column added later must be left out here while it is
-- null, or the chain of older answers breaks.
-- The cost says how slow it is beside an operator, so that Postgres shares the work out.
-- Locks: none. Raises: nothing.
create or replace function loradex.answer_canonical(answer loradex.answers) returns text
language plpgsql stable parallel safe cost 10000
set search_path = pg_catalog, loradex, public, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
begin
    return ((to_jsonb(answer) - array['salt', 'commitments', 'chain_hash']) || answer_commitments(answer))::text;
end
$$;
comment on function loradex.answer_canonical(loradex.answers) is
    'The text the chain hash of an answer covers: every column but the hash itself, erasable ones by commitment.';
revoke execute on function loradex.answer_canonical(loradex.answers) from public;
grant execute on function loradex.answer_canonical(loradex.answers)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/answer_commitments.sql
-- The commitments to what can be erased of an answer, column to hash: SHA-256 over the answer's salt and the JSON text of
-- an object of the column alone. Who does not know the salt cannot try values against them. An erased answer has kept
-- them.
-- Locks: none. Raises: nothing.
create or replace function loradex.answer_commitments(answer loradex.answers) returns jsonb
language sql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select coalesce(answer.commitments, (
        select jsonb_object_agg(e.key, encode(
            sha256(answer.salt || convert_to(jsonb_build_object(e.key, e.value)::text, 'UTF8')), 'hex'))
        from jsonb_each(answer_erasable(answer)) e))
$$;
comment on function loradex.answer_commitments(loradex.answers) is
    'Salted commitments to what can be erased of an answer, column to SHA-256 in hex; internal.';
revoke execute on function loradex.answer_commitments(loradex.answers) from public;
grant execute on function loradex.answer_commitments(loradex.answers)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/answer_document.sql
-- What a caller is told of an answer, as one JSON document: the words, what retrieval saw, what was composed, the link
-- in the chain. job_outcome tells it to whoever waits; explain adds the rest.
-- Locks: none. Raises: nothing.
create or replace function loradex.answer_document(answer loradex.answers) returns jsonb
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    return jsonb_build_object(
        'answer_id', answer.id,
        'job_id', answer.job_id,
        'text', answer.text,
        'choice', answer.choice,
        'scores', to_jsonb(answer.scores),
        'logprobs', answer.logprobs,
        'prompt_tokens', answer.prompt_tokens,
        'output_tokens', answer.output_tokens,
        'finish_reason', finish_reason(answer.generation, answer.output_tokens),
        'method', answer.method,
        'neighbours', coalesce((
            select jsonb_agg(jsonb_build_object(
                'rank', n.rank, 'example_id', n.example_id, 'source_ref', n.source_ref, 'task', n.task,
                'similarity', n.similarity) order by n.rank)
            from unnest(answer.example_ids, answer.example_refs, answer.example_tasks, answer.similarities)
                with ordinality n(example_id, source_ref, task, similarity, rank)), '[]'),
        'distribution', coalesce((
            select jsonb_agg(to_jsonb(t) order by t.rank)
            from unnest(answer.tasks, answer.task_neighbours, answer.task_similarities, answer.probabilities,
                        answer.task_weights, answer.in_nucleus)
                with ordinality t(task, neighbours, best_similarity, probability, weight, in_nucleus, rank)), '[]'),
        'mixture', coalesce((
            select jsonb_agg(jsonb_build_object(
                'rank', c.rank, 'adapter_id', c.adapter_id, 'adapter', c.adapter, 'version', c.version, 'task', c.task,
                'sha256', encode(c.sha256, 'hex'), 'uri', c.uri, 'weight', c.weight, 'update_norm', c.update_norm)
                order by c.rank)
            from unnest(answer.adapter_ids, answer.adapters, answer.adapter_versions, answer.adapter_tasks,
                        answer.adapter_hashes, answer.adapter_uris, answer.weights, answer.adapter_norms)
                with ordinality c(adapter_id, adapter, version, task, sha256, uri, weight, update_norm, rank)), '[]'),
        'generation', answer.generation || jsonb_build_object('choices', answer.choices)
            || case when answer.stop is null then '{}' else jsonb_build_object('stop', answer.stop) end
            || coalesce(answer.held_to, '{}'),
        'timings', answer.timings,
        'chain', jsonb_build_object(
            'position', answer.position,
            'previous_hash', encode(answer.previous_hash, 'hex'),
            'chain_hash', encode(answer.chain_hash, 'hex')));
end
$$;
comment on function loradex.answer_document(loradex.answers) is
    'An answer with its neighbours, distribution, mixture and link in the chain, as one JSON document; internal.';
revoke execute on function loradex.answer_document(loradex.answers) from public;
grant execute on function loradex.answer_document(loradex.answers)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/answer_erasable.sql
-- What of an answer tells about whoever asked and can be erased: its texts, and what texts can be guessed from. The chain
-- covers a commitment to each (answer_commitments) instead of the value, so that it holds without them.
-- Locks: none. Raises: nothing.
create or replace function loradex.answer_erasable(answer loradex.answers) returns jsonb
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select jsonb_build_object(
        'prompt', answer.prompt, 'messages', answer.messages, 'choices', answer.choices, 'stop', answer.stop,
        'held_to', answer.held_to, 'text', answer.text,
        'choice', answer.choice, 'token_ids', answer.token_ids, 'logprobs', answer.logprobs, 'query', answer.query)
$$;
comment on function loradex.answer_erasable(loradex.answers) is
    'What of an answer can be erased, column to value; internal.';
revoke execute on function loradex.answer_erasable(loradex.answers) from public;
grant execute on function loradex.answer_erasable(loradex.answers)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/answer_hash.sql
-- The chain hash an answer should have: SHA-256 over the hash of the answer before and the answer's canonical text.
-- Locks: none. Raises: nothing.
create or replace function loradex.answer_hash(answer loradex.answers) returns bytea
language plpgsql stable parallel safe cost 10000
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    return sha256(answer.previous_hash || convert_to(answer_canonical(answer), 'UTF8'));
end
$$;
comment on function loradex.answer_hash(loradex.answers) is
    'The chain hash an answer should have: SHA-256 of previous_hash and answer_canonical.';
revoke execute on function loradex.answer_hash(loradex.answers) from public;
grant execute on function loradex.answer_hash(loradex.answers)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/archivable.sql
-- Which part of the chain may be archived next: the answers of the oldest months that are over for longer than the setting
-- retention_months, with all notes between them. Usually that is one month. If the clock was set back over the turn of a
-- month, so that answers of both lie mixed in the chain, it is the two together. No row: there is nothing to archive.
-- How many of the answers are erased tells whoever wrote the part down whether it still is what they wrote.
-- Locks: none. Raises: nothing.
create or replace function loradex.archivable(now timestamptz default now())
returns table (
    before timestamptz, first_position bigint, last_position bigint, last_hash bytea, answers bigint, erased bigint
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    over constant timestamptz := (date_trunc('month', archivable.now at time zone 'UTC') - (
        select make_interval(months => s.value::int) from settings s where s.name = 'retention_months'))
        at time zone 'UTC';
    first constant bigint := (select b.position from chain_beginning() b);
    oldest uuid := (select a.id from answers a order by a.id limit 1);
    month timestamptz;
    last record;
begin
    if oldest is null then
        return;
    end if;
    month := date_trunc('month', uuid_extract_timestamp(oldest), 'UTC');
    while month < over loop
        month := (month at time zone 'UTC' + interval '1 month') at time zone 'UTC';
        select a.position, a.chain_hash into last
        from answers a where a.id < first_id(month) order by a.position desc limit 1;
        if not exists (select from answers a where a.id >= first_id(month) and a.position < last.position) then
            return query
            select month, first, last.position, last.chain_hash, count(*), count(a.commitments)
            from answers a where a.id < first_id(month);
            return;
        end if;
    end loop;
end
$$;
comment on function loradex.archivable(timestamptz) is
    'The part of the chain that may be archived next: the oldest months that are over for longer than retention_months.';
revoke execute on function loradex.archivable(timestamptz) from public;
grant execute on function loradex.archivable(timestamptz) to loradex_admin;

-- file: functions/archive_canonical.sql
-- The text that the hash of a note of an archive covers: every column but the hash itself, as JSON with sorted keys.
-- Locks: none. Raises: nothing.
create or replace function loradex.archive_canonical(archive loradex.archives) returns text
language plpgsql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set bytea_output = 'hex'
as $$
begin
    return (to_jsonb(archive) - 'chain_hash')::text;
end
$$;
comment on function loradex.archive_canonical(loradex.archives) is
    'The text the chain hash of a note of an archive covers: every column but the hash itself.';
revoke execute on function loradex.archive_canonical(loradex.archives) from public;
grant execute on function loradex.archive_canonical(loradex.archives)
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/ask_embeddings.sql
-- Asks for the vectors of texts, as questions are embedded, and returns the request's id; take_embeddings gives them. An
-- owner may have 64 requests waiting, everybody together 1024.
-- Locks: none that others wait for. Raises: LX001 no texts, too many, empty or too long ones; LX002 unknown encoder; LX008
-- too many wait; LX011 and 42501 the API key may not ask.
create or replace function loradex.ask_embeddings(texts text[], encoder text default null) returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    most_texts constant int := 1024;
    most_characters constant int := 1000000;
    most_of_owner constant int := 64;
    most_of_all constant int := 1024;
    longest constant int := (select s.maximum from settings s where s.kind = 'job' and s.name = 'prompt');
    asking bigint := current_owner();
    wanted text := coalesce(ask_embeddings.encoder, (select s.value #>> '{}' from settings s where s.name = 'encoder'));
    made uuid := gen_random_uuid();
    wrong int;
begin
    perform check_scope('ask');
    if coalesce(cardinality(ask_embeddings.texts), 0) not between 1 and most_texts or array_ndims(ask_embeddings.texts) > 1 then
        raise exception using errcode = 'LX001', message = format(
            'texts are %s; give 1 to %s', coalesce(cardinality(ask_embeddings.texts), 0), most_texts);
    end if;
    if (select sum(length(t.text)) from unnest(ask_embeddings.texts) t(text)) > most_characters then
        raise exception using errcode = 'LX001', message = format(
            'texts have more than %s characters together; send them in several requests', most_characters);
    end if;
    select t.place into wrong from unnest(ask_embeddings.texts) with ordinality t(text, place)
    where coalesce(t.text, '') !~ '\S' or length(t.text) > longest order by t.place limit 1;
    if found then
        raise exception using errcode = 'LX001', message = format(
            'text %s of texts is empty, or has more than %s characters; leave it out', wrong, longest);
    end if;
    if not exists (select from encoders e where e.name = wanted and e.retired_at is null) then
        raise exception using errcode = 'LX002', message = format(
            'encoder names no encoder %s; known are: %s', shown(wanted), coalesce(
                (select string_agg(e.name, ', ' order by e.name) from encoders e where e.retired_at is null), 'none yet'));
    end if;
    if asking is null then
        insert into owners (name, role) select r.rolname, r.oid from pg_roles r where r.rolname = session_user
        on conflict do nothing;
        asking := current_owner();
    end if;
    if (select count(*) from embeddings e where e.owner_id = asking) >= most_of_owner
       or (select count(*) from embeddings) >= most_of_all then
        raise exception using errcode = 'LX008', message =
            'too many requests for vectors wait; take those that are there, or try again later';
    end if;
    insert into embeddings (id, owner_id, encoder, texts, created_at)
    values (made, asking, wanted, ask_embeddings.texts, now());
    perform notify_workers();
    return made;
end
$$;
comment on function loradex.ask_embeddings(text[], text) is
    'Asks for the vectors of texts; returns the id that take_embeddings gives them for.';
revoke execute on function loradex.ask_embeddings(text[], text) from public;
grant execute on function loradex.ask_embeddings(text[], text) to loradex_client, loradex_admin;

-- file: functions/ask_replay.sql
-- Asks for an answer of one's own to be computed once more from its stored facts, by a worker that has its model in memory,
-- and returns the request's id; take_replay gives how the two compare. Nothing is recorded. An owner may have 4 requests
-- waiting, everybody together 256.
-- Locks: none that others wait for. Raises: LX004 unknown answer, or another user's; LX008 too many wait; LX012 it was
-- erased, its model is another one today, only vLLM could give it again, or the workers at hand compute in other numbers;
-- LX011 and 42501 the API key may not ask.
create or replace function loradex.ask_replay(answer_id uuid) returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    most_of_owner constant int := 4;
    most_of_all constant int := 256;
    asking constant bigint := current_owner();
    made constant uuid := gen_random_uuid();
    answer answers;
    today text;
    others text;
    wanted text;
begin
    perform check_scope('ask');
    select a.* into answer from answers a where a.id = ask_replay.answer_id and a.owner_id = asking;
    if not found then
        raise exception using errcode = 'LX004', message = format(
            'no answer %s, or it is another user''s; check the id', coalesce(ask_replay.answer_id::text, 'null'));
    end if;
    if answer.commitments is not null then
        raise exception using errcode = 'LX012', message =
            'its question was erased, so that it cannot be answered once more';
    end if;
    select b.revision into today from base_models b where b.name = answer.base_model;
    if today is distinct from answer.base_model_revision then
        raise exception using errcode = 'LX012', message = format(
            'it was answered by %s at %s, and the model of that name is %s now; run loradex replay where the one of then is',
            answer.base_model, answer.base_model_revision, coalesce(today, 'gone'));
    end if;
    if answer.versions ? 'vllm' and answer.generation ->> 'kind' = 'generate'
       and (answer.generation ->> 'sampling_temperature')::float8 > 0 then
        raise exception using errcode = 'LX012', message =
            'vLLM sampled it, with random numbers of its own that no other engine draws; what it wrote at '
            'sampling_temperature 0 can be replayed';
    end if;
    if answer.versions ? 'vllm' and coalesce(
           answer.versions ->> 'vllm_arguments', answer.generation ->> 'quantization') is not null then
        raise exception using errcode = 'LX012', message = format(
            'vLLM computed it with %s, by which it is another model than ours: our own engine has none of that',
            coalesce(answer.versions ->> 'vllm_arguments', answer.generation ->> 'quantization'));
    end if;
    wanted := concat_ws(', ', answer.merge_dtype, answer.generation ->> 'quantization');
    -- Workers with vLLM take none: it does not say how likely another token was. Without any worker the request waits.
    select string_agg(distinct case when w.versions ? 'vllm' then 'vLLM' else w.dtype end, '; ') into others
    from living_workers() w where w.base_model = answer.base_model
    having not bool_or(w.dtype = wanted and not w.versions ? 'vllm');
    if others is not null then
        raise exception using errcode = 'LX012', message = format(
            'it was answered by %s in %s, and the workers at hand compute in %s; start one in these numbers, or run loradex '
            'replay', answer.base_model, wanted, others);
    end if;
    delete from replays r where r.id in (
        select o.id from replays o where o.created_at < now() - interval '10 minutes' for update skip locked);
    if (select count(*) from replays r where r.owner_id = asking) >= most_of_owner
       or (select count(*) from replays) >= most_of_all then
        raise exception using errcode = 'LX008', message =
            'too many replays wait; take those that are there, or try again later';
    end if;
    insert into replays (id, owner_id, answer_id, base_model, numbers, created_at)
    values (made, asking, answer.id, answer.base_model, wanted, now());
    perform notify_workers();
    return made;
end
$$;
comment on function loradex.ask_replay(uuid) is
    'Asks for an answer of one''s own to be computed once more; returns the id that take_replay compares them for.';
revoke execute on function loradex.ask_replay(uuid) from public;
grant execute on function loradex.ask_replay(uuid) to loradex_client, loradex_admin;

-- file: functions/audit_head.sql
-- The newest link of the chain, to be kept elsewhere: whoever cuts off the tail cannot make this hash appear again.
-- Locks: none. Raises: nothing; no rows while the chain is empty.
create or replace function loradex.audit_head()
returns table ("position" bigint, answer_id uuid, chain_hash text, created_at timestamptz)
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select h.position, case when h.is_answer then h.id end, encode(h.chain_hash, 'hex'), h.created_at
    from chain_head() h
$$;
comment on function loradex.audit_head() is
    'Position and hash (hex) of the newest link, and its answer, if it is no note: keep them elsewhere.';
revoke execute on function loradex.audit_head() from public;
grant execute on function loradex.audit_head() to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/authenticate.sql
-- For the rest of this transaction the session acts for the owner of an API key: current_owner() is that owner, so
-- row-level security shows its jobs and answers alone. How a server with one login serves many tenants without being
-- able to read what none of their keys was shown for. Returns the key's id. That it was used is noted once a minute.
-- After a rotation the key of before is good for a while too.
-- A login that sees more than its own is refused, since for it row-level security would hide nothing.
-- Locks: the key's row once a minute, if nobody else has it. Raises: LX011 no such key, or it was revoked or has expired;
-- 42501 the key may not do that, or the login is not one of loradex_client alone.
create or replace function loradex.authenticate(key text, scope text default 'read') returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    shown_hash constant bytea := sha256(convert_to(authenticate.key, 'UTF8'));
    found_key api_keys;
begin
    if not pg_has_role(session_user, 'loradex_client', 'member')
       or pg_has_role(session_user, (select n.nspowner from pg_namespace n where n.nspname = 'loradex'), 'member')
       or exists (select from unnest(array['loradex_reader', 'loradex_worker', 'loradex_admin']) more(role)
                  where pg_has_role(session_user, more.role, 'member')) then
        raise exception using errcode = '42501', message = format(
            'the login %s sees more than its own, so it may not act for the owners of keys', session_user),
            hint = 'use a login of the role client: loradex db login NAME --role client';
    end if;
    select k.* into found_key from api_keys k
    where k.key_hash = shown_hash and k.revoked_at is null and coalesce(k.expires_at > now(), true);
    if not found then
        select k.* into found_key from api_keys k
        where k.old_key_hash = shown_hash and k.old_until > now() and k.revoked_at is null
          and coalesce(k.expires_at > now(), true);
    end if;
    if not found then
        raise exception using errcode = 'LX011', message =
            'no such key, or it was revoked or has expired; ask your administrator for one';
    end if;
    if scope is distinct from 'read' and not coalesce(scope = any (found_key.scopes), false) then
        raise exception using errcode = '42501', message = format(
            'this key may %s, not %s', array_to_string(found_key.scopes, ', '), shown(scope));
    end if;
    if coalesce(found_key.last_used_at < now() - interval '1 minute', true) then
        update api_keys k set last_used_at = now()
        where k.id = (select o.id from api_keys o where o.id = found_key.id for update skip locked);
    end if;
    perform set_config(
        'loradex.tenant', seal_tenant(
            found_key.owner_id::text, array_to_string(found_key.scopes, ','), found_key.id::text), true);
    return found_key.id;
end
$$;
comment on function loradex.authenticate(text, text) is
    'For the rest of this transaction the session acts for the owner of this API key; returns the key''s id.';
revoke execute on function loradex.authenticate(text, text) from public;
grant execute on function loradex.authenticate(text, text) to loradex_client;

-- file: functions/blocked_sessions.sql
-- Who waits for a lock in this database and who holds it: one row per waiting session and per session it waits for. It
-- shows logins, programs and times, never a query.
-- Locks: none. Raises: nothing.
create or replace function loradex.blocked_sessions()
returns table (
    waiting_pid int, waiting_login text, waiting_program text, waiting_seconds float8, waits_for text,
    blocking_pid int, blocking_login text, blocking_program text, blocking_state text, blocking_seconds float8
)
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select w.pid, w.usename::text, w.application_name, extract(epoch from clock_timestamp() - l.waitstart)::float8,
           coalesce(l.relation::regclass::text, l.locktype), b.pid, b.usename::text, b.application_name, b.state,
           extract(epoch from clock_timestamp() - b.xact_start)::float8
    from pg_stat_activity w
    join pg_locks l on l.pid = w.pid and not l.granted
    cross join lateral unnest(pg_blocking_pids(w.pid)) blocking(pid)
    join pg_stat_activity b on b.pid = blocking.pid
    where w.datname = current_database()
$$;
comment on function loradex.blocked_sessions() is
    'Who waits for a lock in this database, for how long, and who holds it.';
revoke execute on function loradex.blocked_sessions() from public;
grant execute on function loradex.blocked_sessions() to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/build_encoder_index.sql
-- Builds the index of an encoder if it is not there. A bulk load is several times faster with the index dropped
-- before (drop_encoder_index) and built after. Where near duplicates are grouped (group_duplicates, in a transaction
-- before this one) it holds one of each group.
-- The index holds half precision: measured on 32,566 vectors of MiniLM it finds as much (recall@32 0.989 for both),
-- in 36 MB instead of 64 MB, and a seventh faster. Similarities are computed from the whole vectors all the same.
-- 24 links instead of pgvector's 16, and candidates for each of them by the cube root of what is in it (128 at 10,000,
-- 600 at a million) instead of pgvector's 64; search_examples widens its search by the same root (docs/lab-log.md has
-- recall and building times).
-- A graph that does not fit into maintenance_work_mem (1.7 kB a vector of 384 dimensions) is built more slowly: 512 MB
-- are taken, or what the session has if that is more.
-- Locks: example_embeddings against writes while it builds; encoders against a registration.
-- Raises: LX002 unknown encoder.
create or replace function loradex.build_encoder_index(encoder text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    least_memory constant text := '512MB';
    memory constant text := current_setting('maintenance_work_mem');
    dimensions int := (select e.dimensions from encoders e where e.name = encoder);
    examples bigint;
    duplicates bigint;
begin
    if dimensions is null then
        raise exception using errcode = 'LX002', message = format(
            'no encoder %s; register it with loradex.register_encoder', shown(encoder));
    end if;
    if to_regclass(format('loradex.%I', encoder_index(encoder))) is not null then
        return;
    end if;
    if pg_size_bytes(memory) < pg_size_bytes(least_memory) then
        perform set_config('maintenance_work_mem', least_memory, true);
    end if;
    select count(*), count(x.duplicate_of) into examples, duplicates
    from example_embeddings x where x.encoder = build_encoder_index.encoder;
    execute format(
        'create index %I on example_embeddings using hnsw ((embedding::halfvec(%s)) halfvec_cosine_ops) '
        'with (m = 24, ef_construction = %s) where encoder = %L%s',
        encoder_index(encoder), dimensions,
        least(1000, greatest(128, 6 * cbrt((examples - duplicates)::float8)))::int, encoder,
        case when duplicates > 0 then ' and duplicate_of is null' end);
    perform set_config('maintenance_work_mem', memory, true);
    perform build_search();
end
$$;
comment on function loradex.build_encoder_index(text) is
    'Builds the HNSW index of an encoder if it is missing; of near duplicates that are grouped it holds one.';
revoke execute on function loradex.build_encoder_index(text) from public;
grant execute on function loradex.build_encoder_index(text) to loradex_admin;

-- file: functions/build_search.sql
-- Makes search_vectors, which search_examples calls: one branch for each known encoder. It is generated because the
-- index of an encoder is partial (its name) and over an expression (its dimensions): only where both are constants can
-- a plan use the index and still be cached, and planning costs a fifth of a search. register_encoder and
-- build_encoder_index call it; a revision that changes this text must call it too.
-- Locks: encoders against another registration. Raises: nothing.
create or replace function loradex.build_search() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    statement constant text := $q$
            select array_agg(row(n.ordinal, n.rank, n.example_id, n.task, 1 - n.distance)::neighbour)
            from (
                select r.ordinal, r.k, e.*,
                       (row_number() over (partition by r.ordinal order by e.distance, e.example_id))::int as rank
                from unnest(requests) r
                cross join lateral (%s
                ) e
            ) n
            where n.rank <= n.k$q$;
    -- The constant tells the planner that few rows are wanted; the scan stops at the second limit.
    nearest constant text := $q$
                    select * from (
                        select x.example_id, x.task, x.embedding <=> r.query as distance
                        from example_embeddings x
                        where x.encoder = %1$L%3$s
                        order by x.embedding::halfvec(%2$s) <=> r.query::halfvec(%2$s)
                        limit 1000
                    ) nearest
                    limit %4$s$q$;
    -- Where the index holds one example for a whole group of near duplicates, groups are opened, the nearest first,
    -- until 8 k examples are there: one may be nearer to the query than the one that stands for it. At a million, 2, 4
    -- and 8 k found 0.963, 0.986 and 0.993 of the nearest; more costs little.
    opened constant text := $q$
                    select o.*
                    from (select * from (%s) one order by one.distance) one
                    cross join lateral (
                        select one.example_id, one.task, one.distance
                        union all
                        select x.example_id, x.task, x.embedding <=> r.query
                        from example_embeddings x
                        where x.encoder = %L and x.duplicate_of = one.example_id
                    ) o
                    limit greatest(256, 8 * r.k)$q$;
    -- A filtered scan goes on in portions that are not in order; the best k of more are.
    more constant text := 'least(4 * r.k, 1000)';
    several constant text := 'greatest(32, r.k)';
    known record;
    excluding boolean;
    search text;
    branches text := '';
begin
    lock table encoders in share row exclusive mode;
    for known in
        select e.name, e.dimensions, i.definition like '%duplicate_of%' as grouped
        from encoders e
        cross join pg_get_indexdef(to_regclass(format('loradex.%I', encoder_index(e.name)))) i(definition)
        order by e.created_at, e.name
    loop
        foreach excluding in array array[true, false] loop
            search := format(nearest, known.name, known.dimensions,
                             concat(case when excluding then ' and x.task <> all (r.exclude_tasks)' end,
                                    case when known.grouped then ' and x.duplicate_of is null' end),
                             case when excluding then more when known.grouped then several else 'r.k' end);
            if known.grouped then
                search := format(opened, search, known.name);
            end if;
            branches := branches || format(
                E'    if encoder = %L%s then\n        return (%s\n        );\n    end if;\n',
                known.name, case when excluding then ' and excluding' end, format(statement, search));
        end loop;
    end loop;
    execute format(
        'create or replace function loradex.search_vectors(requests loradex.route_request[], encoder text, '
        'excluding boolean) returns loradex.neighbour[] language plpgsql stable parallel safe cost 100000 '
        'set search_path = pg_catalog, loradex, public, pg_temp set plan_cache_mode = force_generic_plan as %L',
        E'begin\n' || branches || E'    return null;\nend');
    comment on function loradex.search_vectors(loradex.route_request[], text, boolean) is
        'Neighbours by the index of one encoder; made by build_search, internal.';
    revoke execute on function loradex.search_vectors(loradex.route_request[], text, boolean) from public;
    grant execute on function loradex.search_vectors(loradex.route_request[], text, boolean)
        to loradex_reader, loradex_worker, loradex_admin;
end
$$;
comment on function loradex.build_search() is
    'Makes search_vectors, which searches each known encoder''s vectors with a cached plan.';
revoke execute on function loradex.build_search() from public;
grant execute on function loradex.build_search() to loradex_admin;

-- file: functions/cancel_job.sql
-- cancel_jobs for one job; returns the state it is in now.
-- Locks: the job's row. Raises: LX003 no such job, or another user's.
create or replace function loradex.cancel_job(job_id uuid) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    return (select c.state from cancel_jobs(array[cancel_job.job_id]) c);
end
$$;
comment on function loradex.cancel_job(uuid) is
    'Ends a job that has no answer yet as cancelled; returns the state it is in now.';
revoke execute on function loradex.cancel_job(uuid) from public;
grant execute on function loradex.cancel_job(uuid) to loradex_client, loradex_admin;

-- file: functions/cancel_jobs.sql
-- Ends jobs that have no answer yet as cancelled, at their owner's wish or an administrator's: those that wait at once,
-- those that run too, and their worker drops them at its next token. A job that has ended stays as it is. Returns the
-- state that each job is in now; all of them or none.
-- Locks: the jobs' rows, in the order of their ids; it waits for an answer that is being recorded.
-- Raises: LX001 no ids, or too many; LX003 no such job, or another user's; LX011 and 42501 the API key may not ask.
create or replace function loradex.cancel_jobs(job_ids uuid[]) returns table (job_id uuid, state text)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    most int := (select s.value from settings s where s.name = 'max_jobs_per_call');
    is_admin boolean := pg_has_role(session_user, 'loradex_admin', 'member');
    asking bigint := current_owner();
    asker text := coalesce((select o.name from owners o where o.id = asking), session_user);
    stranger uuid;
    job jobs;
begin
    perform check_scope('ask');
    if job_ids is null or cardinality(job_ids) > most then
        raise exception using errcode = 'LX001', message = format('give an array of at most %s ids', most);
    end if;
    select given.id into stranger from unnest(job_ids) given(id)
    where not exists (select from jobs j where j.id = given.id and (is_admin or j.owner_id = asking)) limit 1;
    if found then
        raise exception using errcode = 'LX003', message = format(
            'no job %s, or it is another user''s', coalesce(stranger::text, 'null'));
    end if;
    for job in select j.* from jobs j where j.id = any (job_ids) order by j.id for update loop
        if job.state in ('queued', 'running') then
            perform end_job(
                job, 'cancelled', 'job_cancelled',
                format('%s cancelled it while it was %s', asker, job.state), now(), asker);
        end if;
    end loop;
    return query select j.id, j.state from jobs j where j.id = any (job_ids);
end
$$;
comment on function loradex.cancel_jobs(uuid[]) is
    'Ends jobs that have no answer yet as cancelled; returns the state each is in now.';
revoke execute on function loradex.cancel_jobs(uuid[]) from public;
grant execute on function loradex.cancel_jobs(uuid[]) to loradex_client, loradex_admin;

-- file: functions/chain_beginning.sql
-- Where the chain in the database begins: position of its first link, and the hash of the link before it, which the last
-- archive ends with. A note of an archive is believed only if it comes after what it says was archived. So the newest is
-- a link of the chain that is here, and whoever forges it breaks what follows.
-- Locks: none. Raises: nothing.
create or replace function loradex.chain_beginning() returns table ("position" bigint, previous_hash bytea)
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select b.position, b.previous_hash
    from (
        select r.last_position + 1 as position, r.last_hash as previous_hash
        from archives r where r.position > r.last_position and r.last_position >= r.first_position
        union all
        select 1, decode(repeat('00', 32), 'hex')
    ) b
    order by 1 desc limit 1
$$;
comment on function loradex.chain_beginning() is
    'Position of the first link in the database, and the hash of the link before it; internal.';
revoke execute on function loradex.chain_beginning() from public;
grant execute on function loradex.chain_beginning() to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/chain_head.sql
-- The newest link of the chain: an answer, or the note of an erasure or an archive. Whoever writes the next one holds chain_lock.
-- Locks: none. Raises: nothing; no row while the chain is empty.
create or replace function loradex.chain_head()
returns table ("position" bigint, id uuid, is_answer boolean, chain_hash bytea, created_at timestamptz)
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select l.* from (
        (select a.position, a.id, true, a.chain_hash, a.created_at from answers a order by a.position desc limit 1)
        union all
        (select e.position, e.id, false, e.chain_hash, e.created_at from erasures e order by e.position desc limit 1)
        union all
        (select r.position, r.id, false, r.chain_hash, r.created_at from archives r order by r.position desc limit 1)
    ) l
    order by l.position desc limit 1
$$;
comment on function loradex.chain_head() is 'The newest link of the chain, an answer or a note; internal.';
revoke execute on function loradex.chain_head() from public;
grant execute on function loradex.chain_head() to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/change_setting.sql
-- Changes the default of a job's setting, or a limit; `maximum` moves the end of its range first. Null leaves a thing as
-- it is. A range ends where the type that holds its values does, and takes in the default and what models say in its
-- place (generation_defaults): else who says nothing would get more than who asks. Jobs that are queued keep what they
-- were accepted with.
-- Locks: the setting's row. Raises: LX001 outside its range, or no such range; LX002 unknown setting or name.
create or replace function loradex.change_setting(name text, value jsonb default null, maximum numeric default null)
returns loradex.settings
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    setting settings;
    -- The greatest number that what reads the setting can hold.
    holds numeric;
    complaint text;
begin
    select s.* into setting from settings s where s.name = change_setting.name for update;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no setting %s; known are: %s', shown(change_setting.name),
            (select string_agg(s.name, ', ' order by s.name) from settings s));
    end if;
    if maximum is not null then
        holds := case
            when setting.name = 'seed' then 9223372036854775807
            -- Seconds after now, and months before: further there is no timestamp.
            when setting.name = 'deadline' then 9000000000000
            when setting.name = 'retention_months' then 80000
            when setting.type = 'number' then 1e300
            when exists (select from pg_attribute a where a.attrelid = 'loradex.jobs'::regclass
                         and a.attname = setting.name and a.atttypid = 'int2'::regtype) then 32767
            else 2147483647 end;
        -- NaN and infinity sort above every number.
        complaint := case
            when setting.maximum is null then 'its range has no end'
            when change_setting.maximum <= setting.above then format('give one above %s', setting.above)
            when change_setting.maximum > holds or change_setting.maximum < coalesce(setting.minimum, 0)
                then format('give one from %s to %s', coalesce(setting.minimum, setting.above, 0),
                            case when holds = 1e300 then '1e300' else holds::text end)
            when setting.type <> 'number' and change_setting.maximum % 1 <> 0 then 'give a whole number' end;
        if complaint is null then
            update settings s set maximum = change_setting.maximum where s.name = setting.name returning s.* into setting;
            select format('the base model %s says %s; change that with set_generation_defaults, or give a higher one',
                          m.name, m.generation_defaults -> setting.name)
            into complaint
            from base_models m where (m.generation_defaults ->> setting.name)::numeric > setting.maximum
            order by m.name limit 1;
            if value is null and setting.kind = 'job' and setting.value is not null then
                begin
                    perform check_settings(json_build_array(json_build_object(setting.name, setting.value)));
                exception
                    when sqlstate 'LX001' then
                        complaint := format('its default is %s; give a value too', setting.value);
                end;
            elsif value is null and setting.value::numeric > setting.maximum then
                complaint := format('its value is %s; give one too', setting.value);
            end if;
        end if;
        if complaint is not null then
            raise exception using errcode = 'LX001', message = format(
                '%s cannot have the maximum %s: %s', setting.name, change_setting.maximum, complaint);
        end if;
    end if;
    if value is not null and setting.kind = 'job' then
        perform check_settings(json_build_array(json_build_object(setting.name, change_setting.value)));
        if change_setting.value = 'null' and setting.value is not null then
            raise exception using errcode = 'LX001', message = format(
                '%s needs a default; give a value', setting.name);
        end if;
    elsif value is not null and (
            jsonb_typeof(change_setting.value) <> 'number' or pg_column_size(change_setting.value) > 64
            or change_setting.value::numeric % 1 <> 0
            or change_setting.value::numeric not between setting.minimum and setting.maximum) then
        raise exception using errcode = 'LX001', message = format(
            '%s must be a whole number from %s to %s', setting.name, setting.minimum, setting.maximum);
    end if;
    update settings s
    set value = case when change_setting.value is null then s.value else nullif(change_setting.value, 'null') end,
        changed_at = now(), changed_by = session_user
    where s.name = setting.name
    returning s.* into setting;
    return setting;
end
$$;
comment on function loradex.change_setting(text, jsonb, numeric) is
    'Changes the default of a job''s setting, or a limit; returns its row.';
revoke execute on function loradex.change_setting(text, jsonb, numeric) from public;
grant execute on function loradex.change_setting(text, jsonb, numeric) to loradex_admin;

-- file: functions/check_answer.sql
-- Refuses what a worker says about an answer where it cannot be true of this job: a choice that was not offered, scores or
-- tokens that do not match, figures that are no numbers, another recipe than was decided.
-- Locks: none. Raises: LX001.
create or replace function loradex.check_answer(job loradex.jobs, routing jsonb, answer jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    merge jsonb := answer -> 'merge';
    -- Numbers as they are; anything else becomes null, which no comparison below takes for right.
    scores float8[];
    complaint text;
begin
    if jsonb_typeof(answer -> 'scores') = 'array' and jsonb_array_length(answer -> 'scores') <= 10000 then
        scores := array(select case when jsonb_typeof(s.score) = 'number' then s.score::float8 end
                        from jsonb_array_elements(answer -> 'scores') with ordinality s(score, place)
                        order by s.place);
    end if;
    complaint := case
        when jsonb_typeof(answer) is distinct from 'object' or jsonb_typeof(merge) is distinct from 'object'
            then 'it is not an object with a merge'
        when jsonb_typeof(answer -> 'text') is distinct from 'string' then 'it has no text'
        when job.kind = 'choose' and (
            (answer ->> 'choice' = any (job.choices)) is not true
            or answer ->> 'text' is distinct from answer ->> 'choice')
            then 'its choice is none of the job''s'
        when job.kind = 'choose' and (cardinality(scores) = cardinality(job.choices)) is not true
            then 'it does not have one score per choice'
        when job.kind = 'choose' and array_position(scores, null) is not null then 'a score is not a number'
        when job.kind = 'generate' and (answer ->> 'choice' is not null or scores is not null)
            then 'a generated text has no choice and no scores'
        when jsonb_typeof(answer -> 'token_ids') is distinct from 'array'
             or jsonb_typeof(answer -> 'output_tokens') is distinct from 'number'
             or jsonb_array_length(answer -> 'token_ids')::text is distinct from answer ->> 'output_tokens'
            then 'its tokens do not match their number'
        when jsonb_typeof(answer -> 'prompt_tokens') is distinct from 'number'
             or (answer ->> 'prompt_tokens')::numeric not between 0 and 2147483647
            then 'it does not say how many tokens the prompt has'
        when job.kind = 'generate'
             and jsonb_array_length(answer -> 'token_ids') > (job.settings ->> 'max_new_tokens')::int
            then 'it has more tokens than the job allows'
        when job.kind = 'generate' and jsonb_array_length(answer -> 'token_ids') < (job.settings ->> 'min_tokens')::int
             and not exists (select from jsonb_array_elements(job.settings -> 'stop'))
             and not job.settings ?| array['json_schema', 'regex']
            then 'it has fewer tokens than the job asks for'
        when job.kind = 'generate' and exists (
            select from jsonb_array_elements_text(job.settings -> 'stop') s(one)
            where position(s.one in answer ->> 'text') > 0)
            then 'there is a stop string in its text'
        when (job.kind = 'choose' or job.settings ->> 'logprobs' is null) and answer ->> 'logprobs' is not null
            then 'nobody asked for its log-probabilities'
        when job.kind = 'generate' and job.settings ->> 'logprobs' is not null and (
            jsonb_typeof(answer -> 'logprobs') is distinct from 'array'
            or jsonb_array_length(answer -> 'logprobs') <> jsonb_array_length(answer -> 'token_ids')
            or exists (
                select from jsonb_array_elements(answer -> 'logprobs') with ordinality l(told, place)
                where (l.told -> 'id' = answer -> 'token_ids' -> (l.place::int - 1)
                       and jsonb_array_length(l.told -> 'top') <= (job.settings ->> 'logprobs')::int
                       and not exists (
                           select from jsonb_array_elements(l.told -> 'top' || (l.told - 'top')) t(one)
                           where (jsonb_typeof(t.one -> 'id') = 'number' and jsonb_typeof(t.one -> 'token') = 'string'
                                  and jsonb_typeof(t.one -> 'logprob') = 'number'
                                  and (t.one ->> 'logprob')::numeric between -1e6 and 1) is not true)) is not true))
            then 'its log-probabilities do not match its tokens'
        when answer -> 'generation' ? 'finish_reason' and (answer #>> '{generation,finish_reason}' = any (case
                when job.kind = 'choose' then array['choice']
                when jsonb_array_length(answer -> 'token_ids') < (job.settings ->> 'max_new_tokens')::int
                    then array['stop']
                else array['stop', 'length'] end)) is not true
            then 'its tokens do not fit the reason why it ends'
        when jsonb_typeof(answer -> 'timings') is distinct from 'object' or exists (
            select from jsonb_each(answer -> 'timings') t
            -- Not nearer to 0 than a float8 can be: views read them as such.
            where jsonb_typeof(t.value) <> 'number'
               or t.value::numeric <> 0 and t.value::numeric not between 1e-300 and 1e12)
            then 'a timing is not a number of milliseconds'
        when jsonb_typeof(answer -> 'versions') is distinct from 'object' or exists (
            select from jsonb_each(answer -> 'versions') v where jsonb_typeof(v.value) <> 'string')
            then 'a version is not a text'
        when jsonb_typeof(answer -> 'generation') is distinct from 'object' then 'it does not say how it was generated'
        when answer ->> 'base_model_revision' is distinct from (
            select b.revision from base_models b where b.name = job.base_model)
            then 'its base model is not the registered one'
        when merge ->> 'recipe_hash' is distinct from recipe_hash(
            routing ->> 'merge', (routing ->> 'calibrated')::boolean, (job.settings ->> 'density')::float8,
            merge ->> 'dtype', routing -> 'mixture')
            then 'its recipe is not the one that was decided'
        when abs((select sum((m.part ->> 'weight')::float8)
                  from jsonb_array_elements(routing -> 'mixture') m(part)) - 1) > 1e-6
            then 'the weights of its mixture do not sum to 1'
        when exists (
            select from jsonb_each(merge) m
            where m.key in ('update_norm', 'milliseconds') and jsonb_typeof(m.value) <> 'number'
               or m.key = 'sign_conflict' and jsonb_typeof(m.value) not in ('number', 'null'))
            then 'a figure of its merge is not a number'
        when jsonb_typeof(merge -> 'component_norms') is distinct from 'array'
             or jsonb_array_length(merge -> 'component_norms') <> jsonb_array_length(routing -> 'mixture')
             or exists (select from jsonb_array_elements(merge -> 'component_norms') n where jsonb_typeof(n) <> 'number')
            then 'it does not have one norm per component'
        end;
    if complaint is not null then
        raise exception using errcode = 'LX001', message = format(
            'the answer of job %s cannot be recorded: %s', job.id, complaint);
    end if;
end
$$;
comment on function loradex.check_answer(loradex.jobs, jsonb, jsonb) is
    'Raises LX001 where what a worker says about an answer cannot be true of the job; internal.';
revoke execute on function loradex.check_answer(loradex.jobs, jsonb, jsonb) from public;

-- file: functions/check_call_size.sql
-- Refuses a document that is larger than the setting max_call_bytes, before it is read; true for all others, so that the
-- domain call_document may ask it.
-- Locks: none. Raises: LX001.
create or replace function loradex.check_call_size(bytes bigint) returns boolean
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    most bigint := (select s.value from settings s where s.name = 'max_call_bytes');
begin
    if bytes > most then
        raise exception using errcode = 'LX001', message = format(
            'the call has %s bytes of JSON and may have %s (setting max_call_bytes); split it', bytes, most);
    end if;
    return true;
end
$$;
comment on function loradex.check_call_size(bigint) is
    'Raises LX001 for a document larger than max_call_bytes; internal.';
revoke execute on function loradex.check_call_size(bigint) from public;
-- A domain asks with the rights of whoever calls.
grant execute on function loradex.check_call_size(bigint) to loradex_client, loradex_admin;
alter domain loradex.call_document drop constraint if exists call_document_check;
alter domain loradex.call_document add constraint call_document_check
    check (loradex.check_call_size(octet_length(value)));

-- file: functions/check_jobs.sql
-- Refuses a call of enqueue_jobs that is not an array of objects, or holds a job that says something
-- loradex.settings does not allow or that does not go together. Sizes are looked at before contents, and the document
-- is read as text that stays text, so that a call needs little more memory than it is long.
-- Locks: none. Raises: LX001 bad value or shape; LX002 unknown name.
create or replace function loradex.check_jobs(jobs text, defaults jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    max_jobs int := (select s.value from settings s where s.name = 'max_jobs_per_call');
    document json;
    wrong record;
begin
    document := check_jobs.jobs;
    if document is null or json_typeof(document) <> 'array' then
        raise exception using errcode = 'LX001', message = 'jobs must be a JSON array of objects, one per job';
    end if;
    if json_array_length(document) > max_jobs then
        raise exception using errcode = 'LX001', message = format(
            '%s jobs in one call; give at most %s at a time', json_array_length(document), max_jobs);
    end if;

    select format('job %s is a JSON %s; give an object with at least a prompt', e.ordinal, json_typeof(e.job))
        as complaint
    into wrong
    from json_array_elements(document) with ordinality e(job, ordinal)
    where json_typeof(e.job) <> 'object'
    order by e.ordinal limit 1;
    if found then
        raise exception using errcode = 'LX001', message = wrong.complaint;
    end if;

    perform check_settings(document, 'job');

    select format('job %s: %s', e.ordinal, coalesce(w.complaint, w.stranger)) as message,
           case when w.complaint is not null then 'LX001' else 'LX002' end as code
    into wrong
    from json_array_elements(document) with ordinality e(job, ordinal)
    cross join lateral (select e.job ->> 'choices' is not null, coalesce(e.job ->> 'method', defaults ->> 'method'),
        e.job ->> 'adapter', coalesce(e.job ->> 'base_model', defaults ->> 'base_model'),
        -- What is null was left out.
        case when json_typeof(e.job -> 'messages') = 'array' then e.job -> 'messages' end
        ) j(choose, method, adapter, base_model, messages)
    left join base_models b on b.name = j.base_model
    cross join lateral (select case
        when j.messages is not null and e.job ->> 'prompt' is not null then 'give a prompt or messages, not both'
        when j.messages is null and coalesce(e.job ->> 'prompt', '') !~ '\S' then 'the prompt is empty; give a question'
        when b.chat_template is null and (json_array_length(j.messages) > 1) then format(
            '%s has no chat template, so that it reads one message of the user and no more; give it one: '
            'loradex model register PATH --name %s --messages own', j.base_model, j.base_model)
        when not b.system_role and exists (
            select from json_array_elements(j.messages) one where one ->> 'role' = 'system')
            then format('the chat template of %s has no system message; say it in the first message of the user',
                j.base_model)
        when e.job ->> 'kind' = 'choose' and not j.choose then 'kind choose needs choices; give at least two'
        when e.job ->> 'kind' = 'generate' and j.choose then 'kind generate takes no choices; use kind choose'
        when j.choose and e.job ->> 'logprobs' is not null
            then 'logprobs are of a text that is written, and choices have scores; drop one of them'
        when j.choose and (e.job ->> 'json_schema' is not null or e.job ->> 'regex' is not null)
            then 'json_schema and regex are of a text that is written; drop them, or the choices'
        when e.job ->> 'json_schema' is not null and e.job ->> 'regex' is not null
            then 'give json_schema or regex, not both'
        when e.job ->> 'json_schema' is not null and (case when pg_input_is_valid(e.job ->> 'json_schema', 'json')
                then json_typeof((e.job ->> 'json_schema')::json) end) is distinct from 'object'
            then 'json_schema is not an object in JSON, written as a text'
        when coalesce(e.job ->> 'min_tokens', defaults ->> 'min_tokens')::numeric
             > coalesce(e.job ->> 'max_new_tokens', defaults ->> 'max_new_tokens')::numeric
            then 'min_tokens is more than max_new_tokens; lower it'
        when e.job ->> 'traceparent' !~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$'
            then 'traceparent is no W3C trace context of version 00; leave it out'
        when j.method = 'own' and j.adapter is null then 'method own needs an adapter; name one'
        when j.method <> 'own' and j.adapter is not null then 'only method own takes an adapter; drop it or use own'
        when j.adapter is not null
             and coalesce(case when json_typeof(e.job -> 'exclude_adapters') = 'array'
                               then (e.job -> 'exclude_adapters')::jsonb end,
                          defaults -> 'exclude_adapters') ? j.adapter
            then format('adapter %s is one of exclude_adapters; name another, or take it out there', shown(j.adapter))
        end, case
        when j.adapter is not null and not exists (
            select from adapters a where a.name = j.adapter and a.base_model = j.base_model)
            then format('no adapter %s for %s; see `loradex adapter list`', shown(j.adapter), j.base_model)
        end) w(complaint, stranger)
    where w.complaint is not null or w.stranger is not null
    order by e.ordinal limit 1;
    if found then
        raise exception using errcode = wrong.code, message = wrong.message;
    end if;
    -- Defaults may name what is not there yet.
    if not exists (select from base_models b where b.name = defaults ->> 'base_model')
       or not exists (select from encoders e where e.name = defaults ->> 'encoder') then
        perform check_settings(json_build_array(json_build_object(
            'base_model', coalesce(e.job -> 'base_model', defaults::json -> 'base_model'),
            'encoder', coalesce(e.job -> 'encoder', defaults::json -> 'encoder'))))
        from json_array_elements(document) e(job);
    end if;
exception
    -- What is no JSON, or holds text that Postgres cannot store.
    when data_exception then
        raise exception using errcode = 'LX001', message = format('the call is not valid JSON: %s', sqlerrm);
end
$$;
comment on function loradex.check_jobs(text, jsonb) is
    'Raises LX001 or LX002 unless every job of an enqueue_jobs call is well formed and in range; internal.';
revoke execute on function loradex.check_jobs(text, jsonb) from public;

-- file: functions/check_key_limits.sql
-- Refuses limits of an API key that are out of their range; null is no limit.
-- Locks: none. Raises: LX001.
create or replace function loradex.check_key_limits(requests_a_minute int, max_waiting int) returns void
language plpgsql immutable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if requests_a_minute not between 1 and 1000000 or max_waiting not between 1 and 100000000 then
        raise exception using errcode = 'LX001', message =
            'a key may make 1 to 1000000 requests a minute and have 1 to 100000000 jobs waiting; null is no limit';
    end if;
end
$$;
comment on function loradex.check_key_limits(int, int) is 'Raises LX001 for limits of a key out of range; internal.';
revoke execute on function loradex.check_key_limits(int, int) from public;

-- file: functions/check_lease.sql
-- Refuses a lease that is none or longer than the setting max_lease_seconds, and another time than now from whoever may
-- not act as the owner of the schema: a worker's clock decides nothing, tests may.
-- Locks: none. Raises: LX001.
create or replace function loradex.check_lease(lease interval, moment timestamptz) returns void
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    longest int := (select s.value from settings s where s.name = 'max_lease_seconds');
begin
    if lease is null or not isfinite(lease) or lease <= interval '0' or extract(epoch from lease) > longest then
        raise exception using errcode = 'LX001', message = format(
            'a lease is longer than 0 and at most %s s (setting max_lease_seconds)', longest);
    end if;
    if moment is distinct from now() and not pg_has_role(
        session_user, (select n.nspowner from pg_namespace n where n.nspname = 'loradex'), 'member') then
        raise exception using errcode = 'LX001', message = 'the time is the database''s to say; leave now out';
    end if;
end
$$;
comment on function loradex.check_lease(interval, timestamptz) is
    'Raises LX001 for a lease that is too long, or a time that is not now; internal.';
revoke execute on function loradex.check_lease(interval, timestamptz) from public;

-- file: functions/check_names.sql
-- Refuses a list of names that is longer than the setting of that name allows, or holds a name twice. That the names
-- exist is the caller's to check.
-- Locks: none. Raises: LX001.
create or replace function loradex.check_names(setting text, names text[]) returns void
language plpgsql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if coalesce(cardinality(names), 0) < 2 then
        return;
    end if;
    if cardinality(names) > (select s.maximum from settings s where s.name = setting) then
        raise exception using errcode = 'LX001', message = format(
            '%s has %s names; give at most %s', setting, cardinality(names),
            (select s.maximum from settings s where s.name = setting));
    end if;
    if (select count(distinct n) from unnest(names) n) < cardinality(names) then
        raise exception using errcode = 'LX001', message = format('%s names the same twice; give each once', setting);
    end if;
end
$$;
comment on function loradex.check_names(text, text[]) is
    'Raises LX001 for a list of names that is too long or holds a name twice; internal.';
revoke execute on function loradex.check_names(text, text[]) from public;
grant execute on function loradex.check_names(text, text[]) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/check_routing.sql
-- Refuses routing settings outside their ranges. Null counts as outside; where nobody gave a value, its caller gives one
-- that every range holds: 1, and for top_p 1e-300.
-- Locks: none. Raises: LX001 bad number; LX002 unknown task, base model or adapter.
create or replace function loradex.check_routing(
    k int,
    top_p float8,
    temperature float8,
    exclude_tasks text[] default '{}',
    base_model text default null,
    exclude_adapters text[] default '{}'
) returns void
language plpgsql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    stranger text;
begin
    -- NaN and infinity sort above every number in Postgres, so these comparisons find them too.
    if k is null or top_p is null or temperature is null or temperature > 1e300 or exists (
        select from settings s
        where s.name in ('k', 'top_p', 'temperature')
          and (case s.name when 'k' then k when 'top_p' then top_p else temperature end) not between
              coalesce(s.minimum, s.above)::float8 and coalesce(s.maximum::float8, 'infinity')
           or (s.name = 'top_p' and top_p <= s.above::float8)
           or (s.name = 'temperature' and temperature <= s.above::float8))
    then
        -- The one who words it; nulls are no JSON numbers, as they should be.
        perform check_settings(json_build_array(json_build_object(
            'k', coalesce(to_json(k), '""'), 'top_p', coalesce(to_json(top_p), '""'),
            'temperature', coalesce(to_json(temperature), '""'))));
    end if;
    if exclude_tasks is null or exclude_adapters is null then
        raise exception using errcode = 'LX001', message =
            'exclude_tasks and exclude_adapters must be arrays; give ''{}'' to exclude nothing';
    end if;
    perform check_names('exclude_tasks', exclude_tasks), check_names('exclude_adapters', exclude_adapters);
    if cardinality(exclude_tasks) > 0 then
        select given.name into stranger from unnest(exclude_tasks) given(name)
        where not exists (select from tasks t where t.name = given.name) limit 1;
        if found then
            raise exception using errcode = 'LX002', message = format(
                'exclude_tasks names no task %s; known are those of loradex.tasks',
                shown(stranger));
        end if;
    end if;
    if base_model is not null
       and not exists (select from base_models b where b.name = check_routing.base_model) then
        raise exception using errcode = 'LX002', message = format(
            'no base model %s; known are: %s', shown(base_model),
            coalesce((select string_agg(b.name, ', ' order by b.name) from base_models b), 'none'));
    end if;
    if cardinality(exclude_adapters) > 0 then
        select given.name into stranger from unnest(exclude_adapters) given(name)
        where not exists (select from adapters a where a.name = given.name) limit 1;
        if found then
            raise exception using errcode = 'LX002', message = format(
                'exclude_adapters names no adapter %s; known are those of loradex.adapters',
                shown(stranger));
        end if;
    end if;
end
$$;
comment on function loradex.check_routing(int, float8, float8, text[], text, text[]) is
    'Raises LX001 or LX002 unless the routing settings are in range and name what exists.';
revoke execute on function loradex.check_routing(int, float8, float8, text[], text, text[]) from public;
grant execute on function loradex.check_routing(int, float8, float8, text[], text, text[])
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/check_scope.sql
-- Refuses what the API key of this transaction may not do, and a setting loradex.tenant that authenticate did not make. A
-- session that showed no key may do what its role may.
-- Locks: none. Raises: LX011 no seal of this transaction; 42501 the key may not do that.
create or replace function loradex.check_scope(scope text) returns void
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    tenant text := coalesce(current_setting('loradex.tenant', true), '');
begin
    if tenant = '' then
        return;
    end if;
    if current_owner() is null then
        raise exception using errcode = 'LX011', message =
            'this transaction acts for nobody: call loradex.authenticate in it, with a key';
    end if;
    if not coalesce(scope = any (string_to_array(split_part(tenant, ' ', 2), ',')), false) then
        raise exception using errcode = '42501', message = format(
            'this key may %s, not %s', split_part(tenant, ' ', 2), shown(scope));
    end if;
end
$$;
comment on function loradex.check_scope(text) is
    'Raises LX011 or 42501 if the API key of this transaction may not do that; internal.';
revoke execute on function loradex.check_scope(text) from public;

-- file: functions/check_settings.sql
-- Refuses the first value that is not what loradex.settings declares for a job's field: an unknown field, another type,
-- outside its range, not one of its options, a name nobody knows. `given` is an array of objects, field to value; null
-- counts as left out. `what` is how the message calls the objects, which are counted then; null: there is one.
-- Sizes are looked at before contents. What lists and objects may hold is judged by functions of their own: to make
-- their queries ready took two thirds of the time of a call that has none of them.
-- Locks: none. Raises: LX001 bad value or unknown field; LX002 unknown name.
create or replace function loradex.check_settings(given json, what text default null) returns void
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    found_wrong record;
begin
    select g.ordinal, f.field, wrong.complaint, unknown.complaint as stranger into found_wrong
    from json_array_elements(given) with ordinality g(fields, ordinal)
    cross join lateral json_each(g.fields) f(field, value)
    left join settings s on s.name = f.field and s.kind = 'job'
    -- A text is read once, and not at all where it is longer than its characters could make it (12 bytes each).
    cross join lateral (select case
        when s.type = 'text' and json_typeof(f.value) = 'string'
             and pg_column_size(f.value) <= 12 * coalesce(s.maximum, 1000) + 100 then f.value #>> '{}' end
        offset 0) t(text)
    cross join lateral (select case
        when s.name is null then format('unknown field %s; known are: %s', left(to_json(f.field)::text, 100),
            (select string_agg(k.name, ', ' order by k.name) from settings k where k.kind = 'job'))
        when json_typeof(f.value) = 'null' then null
        when s.type = 'text' then case
            when json_typeof(f.value) <> 'string' then format('%s must be text', s.name)
            when length(t.text) < s.minimum then format('%s is empty; give a text', s.name)
            when t.text is null or length(t.text) > coalesce(s.maximum, 1000) then format(
                '%s has %s; give at most %s', s.name, coalesce(length(t.text) || ' characters', 'too many characters'),
                coalesce(s.maximum, 1000))
            when not (t.text = any (s.options)) then format(
                '%s must be one of %s', s.name, array_to_string(s.options, ', '))
            end
        when s.type in ('texts', 'strings') then wrong_texts(s, f.value)
        when s.type = 'messages' then wrong_messages(s, f.value)
        when s.type = 'pairs' then wrong_pairs(s, f.value)
        when s.type = 'numbers' then wrong_numbers(s, f.value)
        when s.type = 'boolean' then case
            when json_typeof(f.value) <> 'boolean' then format('%s must be true or false', s.name)
            end
        -- Longer than any number that could be in range: it is not read.
        when json_typeof(f.value) <> 'number' or octet_length(f.value::text) > 64
             or (s.type = 'integer' and (f.value #>> '{}')::numeric % 1 <> 0)
             or (f.value #>> '{}')::numeric not between -1e300 and 1e300 or ((f.value #>> '{}')::numeric <> 0 and abs((f.value #>> '{}')::numeric) < 1e-300)
             or (f.value #>> '{}')::numeric < s.minimum or (f.value #>> '{}')::numeric > s.maximum or (f.value #>> '{}')::numeric <= s.above
            then format('%s is %s; give a %s number %s', s.name,
                case when json_typeof(f.value) = 'number' then left(f.value::text, 40) else 'not a number' end,
                case s.type when 'integer' then 'whole' else 'finite' end,
                case when s.above is not null then concat_ws(' and ', 'above ' || s.above, 'at most ' || s.maximum)
                     when s.maximum is not null then format('from %s to %s', s.minimum, s.maximum)
                     else format('of %s or more', s.minimum) end)
        end) wrong(complaint)
    cross join lateral (select case
        when wrong.complaint is null and s.names is not null and json_typeof(f.value) <> 'null'
            then unknown_name(s, f.value)
        end) unknown(complaint)
    where wrong.complaint is not null or unknown.complaint is not null
    order by g.ordinal, wrong.complaint is null, f.field
    limit 1;
    if found then
        raise exception using
            errcode = case when found_wrong.complaint is not null then 'LX001' else 'LX002' end,
            message = case when what is null then '' else format('%s %s: ', what, found_wrong.ordinal) end
                || coalesce(found_wrong.complaint, found_wrong.stranger);
    end if;
end
$$;
comment on function loradex.check_settings(json, text) is
    'Raises LX001 or LX002 for the first value that is not what loradex.settings declares; internal.';
revoke execute on function loradex.check_settings(json, text) from public;
grant execute on function loradex.check_settings(json, text) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/check_vector.sql
-- The dimensions of an encoder, once the query is known to be one of its vectors.
-- Locks: none. Raises: LX002 unknown encoder; LX005 wrong length, no direction, or not finite.
create or replace function loradex.check_vector(query public.vector, encoder text) returns int
language plpgsql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    wanted int;
begin
    select e.dimensions into wanted from encoders e where e.name = check_vector.encoder;
    if wanted is null then
        raise exception using errcode = 'LX002', message = format(
            'no encoder %s; known are: %s. Register it with loradex.register_encoder',
            shown(encoder),
            coalesce((select string_agg(e.name, ', ' order by e.name) from encoders e), 'none'));
    end if;
    if query is null or vector_dims(query) <> wanted then
        raise exception using errcode = 'LX005', message = format(
            'the query vector has %s dimensions, encoder %s makes %s; embed the query with %s',
            coalesce(vector_dims(query)::text, 'no'), encoder, wanted, encoder);
    end if;
    if not (vector_norm(query) between 0.01 and 10000) then
        raise exception using errcode = 'LX005', message = format(
            'the query vector has length %s, so it has no usable direction; give it length 1',
            vector_norm(query));
    end if;
    return wanted;
end
$$;
comment on function loradex.check_vector(public.vector, text) is
    'Dimensions of the encoder; raises LX002 or LX005 unless the query is a vector of it.';
revoke execute on function loradex.check_vector(public.vector, text) from public;
grant execute on function loradex.check_vector(public.vector, text)
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/choice_form.sql
-- A choice as a person reads it, which is also how it is scored: without white space around it, with line feeds for all
-- ends of lines, and in Unicode's composed form. Two choices that look the same have the same form.
-- Locks: none. Raises: nothing.
create or replace function loradex.choice_form(choice text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select normalize(btrim(regexp_replace(choice, E'\r\n?', E'\n', 'g'),
        E' \t\n\x0b\f\r\x1c\x1d\x1e\x1f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a'
        '\u2028\u2029\u202f\u205f\u3000'), nfc)
$$;
comment on function loradex.choice_form(text) is
    'A choice as it is read and scored: no white space around it, line feeds, composed characters.';
revoke execute on function loradex.choice_form(text) from public;
grant execute on function loradex.choice_form(text) to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/claim_embeddings.sql
-- The oldest texts that wait for this encoder and nobody reads; a worker that does not come back with them within two
-- minutes loses them to another. No rows: none wait. What nobody took within ten minutes is deleted on the way.
-- Locks: the rows. Raises: nothing.
create or replace function loradex.claim_embeddings(encoder text) returns table (id uuid, texts text[])
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    delete from embeddings e where e.id in (
        select o.id from embeddings o where o.created_at < now() - interval '10 minutes' for update skip locked);
    return query
    update embeddings e set claimed_at = now()
    where e.id = (
        select w.id from embeddings w
        where w.encoder = claim_embeddings.encoder and w.texts is not null
          and coalesce(w.claimed_at < now() - interval '2 minutes', true)
        order by w.created_at limit 1 for update skip locked)
    returning e.id, e.texts;
end
$$;
comment on function loradex.claim_embeddings(text) is 'The oldest texts that wait for their vectors, for a worker.';
revoke execute on function loradex.claim_embeddings(text) from public;
grant execute on function loradex.claim_embeddings(text) to loradex_worker;

-- file: functions/claim_hash.sql
-- The hash that binds a claim, or an announcement, to whoever made it: the login of this session, and the worker's secret
-- token where it has one. Only the hash is kept, so who can read it cannot use it.
-- Locks: none. Raises: LX001 a token that is too short or too long.
create or replace function loradex.claim_hash(token text) returns bytea
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if length(token) not between 32 and 200 then
        raise exception using errcode = 'LX001', message =
            'a worker''s token has 32 to 200 characters; make a random one at each start';
    end if;
    return sha256(convert_to(format('%s:%s', session_user, token), 'UTF8'));
end
$$;
comment on function loradex.claim_hash(text) is
    'Hash of this session''s login and a worker''s token; internal.';
revoke execute on function loradex.claim_hash(text) from public;

-- file: functions/claim_jobs.sql
-- Hands up to max_jobs waiting jobs to a worker: running, under a lease, with the next attempt number. Higher priorities
-- go first; within one the owners who wait take turns (jobs.turn), and each owner's jobs go in their order. A running job
-- whose lease is over is waiting too. On the way jobs end that are past their deadline (expired), that were lost
-- max_attempts times, or that workers have held for max_held_seconds altogether (failed). No job is handed out past its
-- deadline, not even one that expire_jobs did not come to: it ends so many at a time. With only_urgent none goes whose
-- priority is not above the default. The claim is this login's and, where a token is given, of whoever knows it: see
-- claim_hash.
-- Locks: the claimed rows of jobs, FOR UPDATE SKIP LOCKED: workers never wait for each other. Raises: LX001.
create or replace function loradex.claim_jobs(
    worker text,
    max_jobs int,
    lease interval,
    max_attempts int,
    now timestamptz default now(),
    only_base_model text default null,
    only_encoder text default null,
    token text default null,
    only_urgent boolean default false
) returns setof loradex.jobs
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    mine bytea := claim_hash(token);
    -- A bound that is always there, so that the index begins behind it.
    above int := case when only_urgent then (select s.value::int from settings s where s.name = 'priority') else -32769 end;
    max_held int := (select s.value from settings s where s.name = 'max_held_seconds');
    lost jobs;
    committing text;
begin
    if coalesce(worker, '') = '' or length(worker) > 200 or coalesce(max_jobs, 0) not between 1 and 10000
       or coalesce(max_attempts, 0) < 1 then
        raise exception using errcode = 'LX001', message =
            'claim_jobs needs a worker name of at most 200 characters, max_jobs from 1 to 10000, and max_attempts of 1 '
            'or more';
    end if;
    perform check_lease(lease, claim_jobs.now);
    if exists (select from workers w where w.name = claim_jobs.worker and w.claim_hash <> mine) then
        raise exception using errcode = 'LX001', message = format(
            'another worker is announced as %s; give each a name of its own', shown(worker));
    end if;

    -- Losing a claim in a crash only leaves the job waiting, and whatever is written for it later is committed after it.
    committing := set_config('synchronous_commit', 'off', true);

    perform expire_jobs(claim_jobs.now);
    if not exists (select from jobs j where j.state = 'running' and j.lease_until <= claim_jobs.now) then
        return query
        update jobs j
        set state = 'running', attempt = j.attempt + 1, worker = claim_jobs.worker, claim_hash = mine,
            started_at = claim_jobs.now,
            lease_until = claim_jobs.now + least(lease, make_interval(secs => max_held - j.held_seconds))
        where j.id = any (array(
            select q.id from jobs q
            where q.state = 'queued' and q.priority > above and (q.expires_at is null or q.expires_at > claim_jobs.now)
              and (only_base_model is null or q.base_model = only_base_model)
              and (only_encoder is null or q.encoder = only_encoder)
            order by q.priority desc, q.turn, q.queue_position
            limit claim_jobs.max_jobs
            for update skip locked))
        returning j.*;
        return;
    end if;

    for lost in
        select p.* from jobs p
        where p.state = 'running' and p.lease_until <= claim_jobs.now
          and (p.expires_at is null or p.expires_at > claim_jobs.now)
          and (p.attempt - p.releases >= claim_jobs.max_attempts or held_seconds(p, p.lease_until) >= max_held)
        for update skip locked
    loop
        perform give_up_job(
            lost,
            case when lost.attempt - lost.releases >= claim_jobs.max_attempts then 'too_many_attempts'
                 else 'held_too_long' end,
            lost.worker, held_seconds(lost, lost.lease_until), claim_jobs.now);
    end loop;

    return query
    with queued as (
        select q.id, q.priority, q.turn, q.queue_position from jobs q
        where q.state = 'queued' and q.priority > above and (q.expires_at is null or q.expires_at > claim_jobs.now)
          and (only_base_model is null or q.base_model = only_base_model)
          and (only_encoder is null or q.encoder = only_encoder)
        order by q.priority desc, q.turn, q.queue_position
        limit claim_jobs.max_jobs
        for update skip locked
    ), expired as (
        select x.id, x.priority, x.turn, x.queue_position from jobs x
        where x.state = 'running' and x.lease_until <= claim_jobs.now and x.priority > above
          and (x.expires_at is null or x.expires_at > claim_jobs.now)
          and x.attempt - x.releases < claim_jobs.max_attempts
          and held_seconds(x, x.lease_until) < max_held
          and (only_base_model is null or x.base_model = only_base_model)
          and (only_encoder is null or x.encoder = only_encoder)
        order by x.priority desc, x.turn, x.queue_position
        limit claim_jobs.max_jobs
        for update skip locked
    ), waiting as (
        select * from queued union all select * from expired
    ), chosen as materialized (
        select w.id from waiting w order by w.priority desc, w.turn, w.queue_position limit claim_jobs.max_jobs
    )
    update jobs j
    set state = 'running', attempt = j.attempt + 1, worker = claim_jobs.worker, claim_hash = mine,
        started_at = claim_jobs.now, held_seconds = held_seconds(j, j.lease_until),
        lease_until = claim_jobs.now
            + least(lease, make_interval(secs => max_held - held_seconds(j, j.lease_until)))
    from chosen c
    where j.id = c.id
    returning j.*;
end
$$;
comment on function loradex.claim_jobs(text, int, interval, int, timestamptz, text, text, text, boolean) is
    'Hands waiting jobs to a worker under a lease, with the next attempt number; skips what others hold.';
revoke execute on function loradex.claim_jobs(text, int, interval, int, timestamptz, text, text, text, boolean) from public;
grant execute on function loradex.claim_jobs(text, int, interval, int, timestamptz, text, text, text, boolean) to loradex_worker;

-- file: functions/claim_replay.sql
-- The oldest answer that waits to be computed once more by this model in these numbers. A worker that gives no sign of life
-- (keep_replay) for 30 seconds loses it to another; one that was lost twice is refused, since it may be what its workers
-- died of. No rows: none waits. What is older than ten minutes is deleted on the way.
-- Locks: the rows. Raises: nothing.
create or replace function loradex.claim_replay(worker text, base_model text, numbers text)
returns table (id uuid, answer_id uuid)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    most_claims constant int := 2;
    silence constant interval := interval '30 seconds';
begin
    delete from replays r where r.id in (
        select o.id from replays o where o.created_at < now() - interval '10 minutes' for update skip locked);
    update replays r
    set error_code = 'too_many_attempts', error_message = format('it was lost %s times by its workers', r.claims)
    where r.id in (
        select l.id from replays l
        where num_nonnulls(l.told, l.error_code) = 0 and l.claims >= most_claims and l.claimed_at < now() - silence
        for update skip locked);
    return query
    update replays r set worker = claim_replay.worker, claims = r.claims + 1, claimed_at = now()
    where r.id = (
        select w.id from replays w
        where w.base_model = claim_replay.base_model and w.numbers = claim_replay.numbers
          and num_nonnulls(w.told, w.error_code) = 0 and coalesce(w.claimed_at < now() - silence, true)
        order by w.created_at limit 1 for update skip locked)
    returning r.id, r.answer_id;
end
$$;
comment on function loradex.claim_replay(text, text, text) is
    'The oldest answer that waits to be computed once more, for a worker of its model.';
revoke execute on function loradex.claim_replay(text, text, text) from public;
grant execute on function loradex.claim_replay(text, text, text) to loradex_worker;

-- file: functions/complete_job.sql
-- The row of loradex.jobs that a JSON object asks for: defaults filled in, whole numbers without a fraction, and what has
-- no column of its own gathered in `settings`. How a text is sampled is said by the job, else by the base model's
-- generation_defaults, else by the defaults; `model_defaults` in `settings` names what the model said. A job that asks
-- for the likeliest text takes none of the model's sampling.
-- `columns` are those of loradex.jobs, `integers` the whole-number settings.
-- Choices are kept as they are read (choice_form); the prompt of a conversation is the text that is embedded.
-- A job with an idempotency key keeps a hash of what was said of it, by which asking again is known whatever the defaults
-- are by then.
-- A job whose text is told while it is written gets a key that nobody can guess.
-- Locks: none. Raises: nothing; check_jobs has read the object before.
create or replace function loradex.complete_job(
    job_id uuid, owner bigint, turn bigint, job jsonb, defaults jsonb, columns text[], integers text[]
) returns loradex.jobs
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    said constant jsonb := jsonb_strip_nulls(job);
    complete jsonb := defaults || said;
    -- What the model says of it.
    its_own jsonb;
    made jobs;
begin
    if not said ? 'choices' then
        select m.generation_defaults into its_own from base_models m where m.name = complete ->> 'base_model';
    end if;
    if its_own is not null then
        its_own := its_own - array(select jsonb_object_keys(said));
        if (said ->> 'sampling_temperature')::numeric = 0 then
            its_own := its_own - array(select key from jsonb_object_keys(its_own) key where key like 'sampling\_%');
        end if;
        if its_own <> '{}' then
            complete := complete || its_own || jsonb_build_object('model_defaults', array(
                select key from jsonb_object_keys(its_own) key order by key));
        end if;
    end if;
    if job ?| integers then
        complete := complete || (
            select coalesce(jsonb_object_agg(i.name, trim_scale((job ->> i.name)::numeric)), '{}')
            from unnest(integers) i(name) where job ->> i.name is not null);
    end if;
    made := jsonb_populate_record(made, complete);
    made.id := job_id;
    made.owner_id := complete_job.owner;
    made.turn := complete_job.turn;
    made.owner := (select o.name from owners o where o.id = complete_job.owner);
    made.api_key_id := current_key();
    made.kind := case when made.choices is null then 'generate' else 'choose' end;
    if made.choices is not null then
        made.choices := array(
            select choice_form(c.choice) from unnest(made.choices) with ordinality c(choice, place) order by c.place);
    end if;
    if made.messages is not null then
        made.prompt := case complete ->> 'embedded_messages'
            when 'last' then made.messages -> -1 ->> 'content'
            else (select string_agg(m.message ->> 'content', E'\n\n' order by m.place)
                  from jsonb_array_elements(made.messages) with ordinality m(message, place)) end;
    else
        complete := complete - 'embedded_messages';
    end if;
    made.settings := complete - columns;
    if made.idempotency_key is not null then
        made.asked := sha256(convert_to((said - array['stream', 'traceparent'])::text, 'UTF8'));
    end if;
    made.pieces_key := case when (complete ->> 'stream')::boolean then gen_random_uuid() end;
    made.state := 'queued';
    made.attempt := 0;
    made.releases := 0;
    made.held_seconds := 0;
    made.created_at := now();
    made.expires_at := made.created_at + make_interval(secs => made.deadline);
    return made;
end
$$;
comment on function loradex.complete_job(uuid, bigint, bigint, jsonb, jsonb, text[], text[]) is
    'The row of loradex.jobs a JSON object asks for, defaults filled in; internal.';
revoke execute on function loradex.complete_job(uuid, bigint, bigint, jsonb, jsonb, text[], text[]) from public;

-- file: functions/create_api_key.sql
-- Makes an API key for an owner, who is made too if there is none of that name yet. Owners of keys are no logins, whatever
-- their names: their role is 0, which no role has. The caller makes the key, 32 random bytes or more, and tells its hash
-- alone. Returns the key's id.
-- Locks: none. Raises: LX001 no owner, name or hash, unknown scopes, an end that has passed, a limit out of its range, a key that
-- is there already.
create or replace function loradex.create_api_key(
    owner text, name text, key_hash bytea, scopes text[] default '{ask}', expires_at timestamptz default null,
    requests_a_minute int default null, max_waiting int default null
) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    longest constant int := 100;
    made bigint;
begin
    if coalesce(create_api_key.owner, '') !~ '^[[:graph:]]+$' or length(create_api_key.owner) > longest then
        raise exception using errcode = 'LX001', message = format(
            'the owner %s is no name; give 1 to %s characters without blanks', shown(create_api_key.owner), longest);
    end if;
    if coalesce(create_api_key.name, '') !~ '\S' or length(create_api_key.name) > longest then
        raise exception using errcode = 'LX001', message = format('give the key a name of 1 to %s characters', longest);
    end if;
    if create_api_key.key_hash is null or octet_length(create_api_key.key_hash) <> 32 then
        raise exception using errcode = 'LX001', message = 'give the SHA-256 of the key, which has 32 bytes';
    end if;
    if coalesce(cardinality(create_api_key.scopes), 0) = 0 or array_position(create_api_key.scopes, null) is not null
       or not create_api_key.scopes <@ array['ask', 'read'] then
        raise exception using errcode = 'LX001', message = 'a key may ask or read; give one or both as scopes';
    end if;
    if create_api_key.expires_at <= now() then
        raise exception using errcode = 'LX001', message = 'the key would have expired already; give a later end';
    end if;
    perform check_key_limits(create_api_key.requests_a_minute, create_api_key.max_waiting);
    insert into owners (name, role) values (create_api_key.owner, 0) on conflict do nothing;
    insert into api_keys (
        owner_id, name, key_hash, scopes, created_by, expires_at, requests_a_minute, max_waiting)
    values (
        (select o.id from owners o where o.name = create_api_key.owner and o.role = 0), create_api_key.name,
        create_api_key.key_hash, array(select distinct s from unnest(create_api_key.scopes) s order by s), session_user,
        create_api_key.expires_at, create_api_key.requests_a_minute, create_api_key.max_waiting)
    on conflict (key_hash) do nothing
    returning id into made;
    if made is null then
        raise exception using errcode = 'LX001', message = 'this key is there already; make another';
    end if;
    return made;
end
$$;
comment on function loradex.create_api_key(text, text, bytea, text[], timestamptz, int, int) is
    'Makes an API key of this hash for an owner; returns its id.';
revoke execute on function loradex.create_api_key(text, text, bytea, text[], timestamptz, int, int) from public;
grant execute on function loradex.create_api_key(text, text, bytea, text[], timestamptz, int, int) to loradex_admin;

-- file: functions/current_key.sql
-- The API key that this session showed in this transaction (authenticate); null without one, or without a good seal.
-- Locks: none. Raises: nothing.
create or replace function loradex.current_key() returns bigint
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select case when coalesce(current_setting('loradex.tenant', true), '') <> '' and current_owner() is not null
        then split_part(current_setting('loradex.tenant'), ' ', 3)::bigint end
$$;
comment on function loradex.current_key() is 'The API key this session showed in this transaction; internal.';
revoke execute on function loradex.current_key() from public;

-- file: functions/current_owner.sql
-- The owner that this session acts for: that of the API key it showed in this transaction (authenticate), otherwise its
-- login's; null if that never asked, or if the setting loradex.tenant has no seal of this transaction. Oid and name of a
-- login must both fit, since in a restored database the oids are another server's. Row-level security compares with it.
-- Locks: none. Raises: nothing.
create or replace function loradex.current_owner() returns bigint
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select case
        when coalesce(current_setting('loradex.tenant', true), '') = '' then (
            select o.id from owners o
            where o.name = session_user and o.role = (select r.oid from pg_roles r where r.rolname = session_user))
        when current_setting('loradex.tenant') = seal_tenant(
            split_part(current_setting('loradex.tenant'), ' ', 1), split_part(current_setting('loradex.tenant'), ' ', 2),
            split_part(current_setting('loradex.tenant'), ' ', 3))
            then split_part(current_setting('loradex.tenant'), ' ', 1)::bigint
    end
$$;
comment on function loradex.current_owner() is
    'The owner this session acts for: that of the API key it showed, or its login; null if it never asked.';
revoke execute on function loradex.current_owner() from public;
grant execute on function loradex.current_owner() to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/decide_routes.sql
-- What routing decides for a batch of jobs: one document per job with its neighbours, task distribution, mixture, how the
-- mixture is merged, what was drawn among adapters that share a task, and what earlier answers gave its choices where the
-- job wants that. Jobs may differ in every setting; each encoder among them costs one search. Excluding a task excludes the adapters trained on it, but for the one that method own names.
-- Its statements are planned once per session (force_generic_plan): custom plans look cheaper because the arrays' lengths
-- are known, but planning them takes a third of the call.
-- Locks: none. Raises: LX001 arrays of unlike length; LX002 the named adapter is not active; LX003 unknown job;
-- LX005 bad vector.
create or replace function loradex.decide_routes(job_ids uuid[], queries public.vector[])
returns table (job_id uuid, routing jsonb)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    started timestamptz := clock_timestamp();
    -- The jobs of one encoder: their requests, which adapters each method takes, the adapter each names.
    batch record;
    neighbours neighbour[];
    share float8;
begin
    if coalesce(cardinality(job_ids), -1) <> coalesce(cardinality(queries), -2) then
        raise exception using errcode = 'LX001', message = 'job_ids and queries must have the same length, one query per job';
    end if;

    for batch in
        select j.encoder, e.revision,
               array_agg(row(g.ordinal, g.query, j.k, j.top_p, j.temperature, j.exclude_tasks, j.base_model,
                             j.exclude_adapters, j.id)::route_request) as requests,
               array_agg(m.selection) as selections, array_agg(j.adapter) as named,
               min(coalesce(g.id::text, 'null')) filter (where j.id is null) as unknown,
               min(j.adapter) filter (where m.selection = 'named' and not exists (
                   select from adapters a
                   where a.name = j.adapter and a.base_model = j.base_model and a.state = 'active')) as inactive
        from unnest(job_ids, queries) with ordinality g(id, query, ordinal)
        left join jobs j on j.id = g.id
        left join methods m on m.name = j.method
        left join encoders e on e.name = j.encoder
        group by j.encoder, e.revision
        order by j.encoder nulls first
    loop
        if batch.unknown is not null then
            raise exception using errcode = 'LX003', message = format('no job %s', batch.unknown);
        end if;
        if batch.inactive is not null then
            raise exception using errcode = 'LX002', message = format(
                'adapter %s is not active for this base model; activate it with `loradex adapter activate`, or name '
                'another', shown(batch.inactive));
        end if;
        perform check_vector(r.query, batch.encoder) from unnest(batch.requests) r;
        neighbours := search_examples(batch.requests, batch.encoder);
        share := extract(epoch from clock_timestamp() - started) * 1000 / cardinality(job_ids);

        return query
        with asked as materialized (
            select * from unnest(batch.requests, batch.selections, batch.named) as a (
                ordinal, query, k, top_p, temperature, exclude_tasks, base_model, exclude_adapters, job_id,
                selection, named)
        ), mixed as materialized (
            select * from mix_neighbours(batch.requests, neighbours)
        ), chosen as (
            -- Which adapters take part, by the method's selection; the order of the rows is the rank.
            select m.ordinal, m.rank::bigint as place, m.adapter_id, m.adapter, m.version, m.task, m.sha256, m.uri,
                   case when a.selection = 'first' then 1 else m.weight end as weight
            from asked a
            join mixed m on m.ordinal = a.ordinal and m.in_nucleus
            where a.selection = 'nucleus'
               or (a.selection = 'first'
                   and m.rank = (select min(f.rank) from mixed f where f.ordinal = a.ordinal and f.in_nucleus))
            union all
            select a.ordinal, d.id, d.id, d.name, d.version, d.task, d.sha256, d.uri,
                   1 / count(*) over (partition by a.ordinal)::float8
            from asked a
            join adapters d on d.base_model = a.base_model and d.state = 'active'
            where batch.selections && array['named', 'all']
              and ((a.selection = 'named' and d.name = a.named and not exists (
                        -- Of its versions that are active, the one that the job draws.
                        select from adapters b
                        where b.name = d.name and b.state = 'active'
                          and adapter_draw(a.job_id, b.sha256::text, b.share)
                              < adapter_draw(a.job_id, d.sha256::text, d.share)))
                or (a.selection = 'all' and d.name <> all (a.exclude_adapters) and d.task <> all (a.exclude_tasks)
                    and not d.trained_on && a.exclude_tasks
                    and (d.share = 1 or is_drawn(d, a.job_id, a.exclude_adapters, a.exclude_tasks))))
            union all
            select m.ordinal, m.rank, m.adapter_id, m.adapter, m.version, m.task, m.sha256, m.uri, m.weight
            from (select array_agg(r) as requests from unnest(batch.requests) r
                  join asked a on a.ordinal = r.ordinal and a.selection = 'affinity') wanted
            cross join lateral mix_affinities(wanted.requests, neighbours) m
            where batch.selections && array['affinity']
        ), mixtures as (
            select c.ordinal, jsonb_agg(jsonb_build_object(
                'rank', c.rank, 'adapter_id', c.adapter_id, 'adapter', c.adapter, 'version', c.version,
                'task', c.task, 'sha256', c.sha256, 'uri', c.uri, 'weight', c.weight) order by c.rank) as mixture
            from (select c.*, row_number() over (partition by c.ordinal order by c.place) as rank from chosen c) c
            group by c.ordinal
        ), draws as (
            -- Which of the adapters were drawn, and against how many that might have answered in their place.
            select c.ordinal, jsonb_agg(jsonb_build_object(
                'task', c.task, 'adapter', c.adapter, 'version', c.version, 'share', d.share,
                'draw', adapter_draw(a.job_id, c.sha256, d.share), 'among', r.adapters) order by c.place) as draws
            from chosen c
            join adapters d on d.id = c.adapter_id and d.share < 1
            join asked a on a.ordinal = c.ordinal
            cross join lateral (
                select count(*) as adapters from adapters b
                where b.base_model = d.base_model and b.task = d.task and b.state = 'active'
                  and case when a.selection = 'named' then b.name = a.named
                           else b.name <> all (a.exclude_adapters) and not b.trained_on && a.exclude_tasks end) r
            where r.adapters > 1
            group by c.ordinal
        ), distributions as (
            select m.ordinal, jsonb_agg(jsonb_build_object(
                'rank', m.rank, 'task', m.task, 'neighbours', m.neighbours, 'best_similarity', m.best_similarity,
                'probability', m.probability, 'weight', m.weight, 'in_nucleus', m.in_nucleus) order by m.rank)
                as distribution
            from mixed m
            group by m.ordinal
        ), nearby as (
            select n.ordinal, jsonb_agg(jsonb_build_object(
                'rank', n.rank, 'example_id', n.example_id, 'source_ref', x.source_ref, 'task', n.task,
                'similarity', n.similarity) order by n.rank) as neighbours,
                sha256(convert_to(string_agg(x.sha256 || E'\n', '' order by n.rank), 'UTF8')) as examples_hash
            from unnest(neighbours) n
            join examples x on x.id = n.example_id
            group by n.ordinal
        )
        select job_ids[r.ordinal], jsonb_build_object(
            'method', m.name, 'merge', m.merge, 'calibrated', m.calibrated,
            'encoder', batch.encoder,
            'encoder_revision', batch.revision,
            'k', r.k, 'top_p', r.top_p, 'temperature', r.temperature,
            'exclude_tasks', to_jsonb(r.exclude_tasks), 'exclude_adapters', to_jsonb(r.exclude_adapters),
            'neighbours', coalesce(y.neighbours, '[]'),
            'examples_hash', coalesce(y.examples_hash, sha256(''))::text,
            'distribution', coalesce(d.distribution, '[]'),
            'mixture', coalesce(x.mixture, '[]'),
            'draws', coalesce(w.draws, '[]'),
            'milliseconds', share)
            || case when h.prior is null then '{}' else jsonb_build_object('prior', h.prior) end
        from asked r
        join jobs j on j.id = job_ids[r.ordinal]
        join methods m on m.name = j.method
        left join nearby y on y.ordinal = r.ordinal
        left join distributions d on d.ordinal = r.ordinal
        left join mixtures x on x.ordinal = r.ordinal
        left join draws w on w.ordinal = r.ordinal
        left join history_of_choices(job_ids) h on h.job_id = j.id
        order by r.ordinal;
    end loop;
end
$$;
comment on function loradex.decide_routes(uuid[], public.vector[]) is
    'Neighbours, task distribution and mixture of every job of a batch, in one statement; one JSON document per job.';
revoke execute on function loradex.decide_routes(uuid[], public.vector[]) from public;
grant execute on function loradex.decide_routes(uuid[], public.vector[])
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/describe_base_model.sql
-- Keeps which modules of a base model an adapter may change, with the sizes of their weights as [d_out, d_in], as
-- whoever read the model saw them. What is told later counts; adapters that are registered stay as they are.
-- Locks: its row. Raises: LX001 bad value, or another revision; LX002 unknown base model.
create or replace function loradex.describe_base_model(name text, revision text, modules jsonb) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    known base_models;
begin
    if coalesce(jsonb_typeof(modules), '') <> 'object' or octet_length(modules::text) > 4000000
       or modules = '{}' or exists (
           select from jsonb_each(modules) m(module, size)
           where jsonb_path_match(m.size, 'strict exists($ ? (@.size() == 2 && @[0] > 0 && @[1] >= 0))', '{}', true) is not true
       ) then
        raise exception using errcode = 'LX001', message =
            'modules is an object of at most 4,000,000 bytes that gives [d_out, d_in] for each module, of a norm 0 for d_in';
    end if;
    select m.* into known from base_models m where m.name = describe_base_model.name;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no base model %s; known are: %s', shown(name),
            coalesce((select string_agg(m.name, ', ' order by m.name) from base_models m), 'none yet'));
    end if;
    if known.revision is distinct from revision then
        raise exception using errcode = 'LX001', message = format(
            'base model %s is known at revision %s, not %s', name, known.revision, shown(revision));
    end if;
    update base_models m set modules = describe_base_model.modules
    where m.name = describe_base_model.name and m.modules is distinct from describe_base_model.modules;
end
$$;
comment on function loradex.describe_base_model(text, text, jsonb) is
    'Keeps which modules of a base model an adapter may change, with the sizes of their weights.';
revoke execute on function loradex.describe_base_model(text, text, jsonb) from public;
grant execute on function loradex.describe_base_model(text, text, jsonb) to loradex_worker, loradex_admin;

-- file: functions/domain_edge.sql
-- in_domain_similarity with what it takes for granted, for clients, who see no vectors: one number about the library. A
-- question less similar to everything than this is out of its domain; null: there are fewer than two examples, so that it
-- is not known.
-- Locks: none. Raises: LX002 unknown encoder.
create or replace function loradex.domain_edge(encoder text) returns table (similarity float8)
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select in_domain_similarity(domain_edge.encoder)
$$;
comment on function loradex.domain_edge(text) is
    'How similar a question must be to the nearest example to be in the library''s domain.';
revoke execute on function loradex.domain_edge(text) from public;
grant execute on function loradex.domain_edge(text) to loradex_client;

-- file: functions/drop_archived.sql
-- Takes answers out of the database once an archive holds them, with their jobs, and leaves a note in the chain. What is
-- dropped must be exactly what archivable says, and end with the hash that the archive ends with. As many answers must be
-- erased as there were when the archive was written, or it holds texts that should be gone.
-- Nobody answers while it waits for a lock, so it waits for each for 5 seconds at most, whatever the session says.
-- Locks: the table chain_lock, loradex.answers exclusively, and the rows of the jobs, until the transaction ends.
-- Raises: LX001 no such part, another end, texts erased since, or another isolation; LX008 answers or jobs are in use: try
-- again.
create or replace function loradex.drop_archived(
    before timestamptz, last_hash bytea, erased bigint, files jsonb, now timestamptz default now()
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    part record;
    partition regclass;
    head record;
    note archives;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = 'LX001', message =
            'drop_archived reads the newest link of the chain; call it in a READ COMMITTED transaction';
    end if;
    if jsonb_typeof(files) is distinct from 'object' or pg_column_size(files) > 10000 then
        raise exception using errcode = 'LX001', message = 'files must be an object from file to hash';
    end if;
    begin
        lock table loradex.chain_lock in exclusive mode;
        lock table loradex.answers in access exclusive mode;
        select * into part from archivable(drop_archived.now);
        if part.before is distinct from drop_archived.before or part.last_hash is distinct from drop_archived.last_hash then
            raise exception using errcode = 'LX001', message =
                'what may be archived next is another part of the chain, or ends with another hash; archive it anew';
        end if;
        if part.erased is distinct from drop_archived.erased then
            raise exception using errcode = 'LX001', message = format(
                '%s answers of it are erased, and the archive was written when %s were; archive it anew',
                part.erased, coalesce(drop_archived.erased::text, 'null'));
        end if;
        select * into head from chain_head();
        delete from jobs j using answers a where a.id < first_id(part.before) and j.answer_id = a.id;
    exception
        -- An erasure locks jobs, then answers, and the chain after them.
        when lock_not_available or deadlock_detected then
            raise exception using errcode = 'LX008', message =
                'answers or jobs have been in use for 5 s, so that none can be taken out; try again later';
    end;
    for partition in
        select i.inhrelid::regclass from pg_inherits i
        where i.inhparent = 'loradex.answers'::regclass
          and to_date(right(i.inhrelid::regclass::text, 7), 'YYYY_MM') < (part.before at time zone 'UTC')::date
    loop
        execute format('alter table loradex.answers detach partition %s', partition);
        execute format('drop table %s', partition);
    end loop;

    note.id := uuidv7();
    note.position := head.position + 1;
    note.first_position := part.first_position;
    note.last_position := part.last_position;
    note.last_hash := part.last_hash;
    note.answer_count := part.answers;
    note.before := part.before;
    note.files := drop_archived.files;
    note.login := session_user;
    note.created_at := clock_timestamp();
    note.previous_hash := head.chain_hash;
    note.chain_hash := sha256(note.previous_hash || convert_to(archive_canonical(note), 'UTF8'));
    insert into archives select note.*;
end
$$;
comment on function loradex.drop_archived(timestamptz, bytea, bigint, jsonb, timestamptz) is
    'Takes answers that an archive holds out of the database, with their jobs, and leaves a chained note.';
revoke execute on function loradex.drop_archived(timestamptz, bytea, bigint, jsonb, timestamptz) from public;
grant execute on function loradex.drop_archived(timestamptz, bytea, bigint, jsonb, timestamptz) to loradex_admin;

-- file: functions/drop_encoder_index.sql
-- Drops the index of an encoder, for a bulk load; build_encoder_index builds it again. Without it answers stay right
-- and get slower.
-- Locks: example_embeddings against everything, briefly. Raises: LX002 unknown encoder.
create or replace function loradex.drop_encoder_index(encoder text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if not exists (select from encoders e where e.name = encoder) then
        raise exception using errcode = 'LX002', message = format(
            'no encoder %s; register it with loradex.register_encoder', shown(encoder));
    end if;
    execute format('drop index if exists loradex.%I', encoder_index(encoder));
end
$$;
comment on function loradex.drop_encoder_index(text) is 'Drops the HNSW index of an encoder, for a bulk load.';
revoke execute on function loradex.drop_encoder_index(text) from public;
grant execute on function loradex.drop_encoder_index(text) to loradex_admin;

-- file: functions/duplicate_examples.sql
-- Pairs of examples that are nearly the same by vector, within a task or across tasks, most alike first. Of each example
-- the 16 nearest others are looked at, so that of a larger group of near duplicates not all pairs are told.
-- Locks: none. Raises: LX001 bad threshold; LX002 unknown encoder.
create or replace function loradex.duplicate_examples(
    threshold float8 default 0.98, encoder text default 'all-MiniLM-L6-v2'
) returns table (
    example_id bigint, task text, duplicate_id bigint, duplicate_task text, similarity float8, same_text boolean
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    if threshold is null or not (threshold > 0 and threshold <= 1) then
        raise exception using errcode = 'LX001', message = format(
            'threshold is %s; give a similarity above 0 and at most 1', coalesce(threshold::text, 'null'));
    end if;
    return query
    with pair as (
        select least(n.example_id, n.neighbour_id) as one, greatest(n.example_id, n.neighbour_id) as other,
               max(n.similarity) as similarity
        from example_neighbours(16, encoder) n
        where n.similarity >= threshold
        group by 1, 2
    )
    select a.id, a.task, b.id, b.task, p.similarity, a.sha256 = b.sha256
    from pair p
    join examples a on a.id = p.one
    join examples b on b.id = p.other
    order by p.similarity desc, a.id, b.id;
end
$$;
comment on function loradex.duplicate_examples(float8, text) is
    'Pairs of examples whose vectors are at least as similar as the threshold, among the 16 nearest of each; most alike first.';
revoke execute on function loradex.duplicate_examples(float8, text) from public;
grant execute on function loradex.duplicate_examples(float8, text) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/encoder_index.sql
-- The name of an encoder's index on example_embeddings.
-- Locks: none. Raises: nothing.
create or replace function loradex.encoder_index(encoder text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select 'example_embeddings_hnsw_' || left(regexp_replace(lower(encoder), '[^a-z0-9]+', '_', 'g'), 24)
           || '_' || left(md5(encoder), 8)
$$;
comment on function loradex.encoder_index(text) is 'Name of an encoder''s index on example_embeddings.';
revoke execute on function loradex.encoder_index(text) from public;
grant execute on function loradex.encoder_index(text)
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/end_job.sql
-- Ends a job without an answer: as failed, cancelled or expired. Whoever waits for it is told (channel loradex_jobs), and
-- if it runs, the worker that has it in hand too (loradex_stop), whatever it ends as: a worker that lost it or whose
-- question was erased may still compute it.
-- Locks: the job's row, which its callers have locked before. Raises: nothing.
create or replace function loradex.end_job(
    job loradex.jobs, state text, code text, message text, now timestamptz, cancelled_by text default null
) returns void
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    update jobs j
    set state = end_job.state, lease_until = null, finished_at = end_job.now, error_code = code,
        error_message = left(message, 10000), cancelled_by = end_job.cancelled_by
    where j.id = job.id;
    delete from routings r where r.job_id = job.id;
    perform notify_job(job.id);
    if job.state = 'running' then
        perform notify_job(job.id, 'loradex_stop');
    end if;
end
$$;
comment on function loradex.end_job(loradex.jobs, text, text, text, timestamptz, text) is
    'Ends a job without an answer and tells who waits for it and who computes it; internal.';
revoke execute on function loradex.end_job(loradex.jobs, text, text, text, timestamptz, text) from public;

-- file: functions/enqueue_jobs.sql
-- Accepts a JSON array of jobs, all of them or none; what a job leaves out takes the defaults of loradex.settings. The
-- only door to the queue. Its statements are planned once per session, since a plan made for the very document would
-- copy it. The document comes as text, which is measured by its type, before it is planned for or read; the form for
-- jsonb below is for callers that have one, and Postgres reads it before anything of ours can measure it. An idempotency
-- key that its owner used before gives the older job, however full the queue is: where it has no room for all jobs of a
-- call, only those are counted that would be new (fresh_jobs).
-- Locks: an insert waits for another transaction that just used the same idempotency key. A lock on the queue until
-- commit, waited for 5 s at most: shared, so that calls do not wait for each other, while half of the places are free
-- and the call is so small that every connection could make one like it and fit into the other half; otherwise
-- exclusive, so that none counts past another. Call it in a short READ COMMITTED transaction.
-- An API key with a limit of waiting jobs is locked until commit, before the queue: those who ask with it count one after
-- the other, and nobody else waits for them.
-- Raises: LX001 bad value or shape, or another isolation; LX002 unknown method, task, adapter, encoder or base model;
-- LX007 the key was used for a different job; LX008 the queue is full, or the key's part of it; LX011 and 42501 the API key may not ask.
create or replace function loradex.enqueue_jobs(jobs loradex.call_document)
returns table (ordinal int, job_id uuid, created boolean)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    defaults jsonb := (
        select jsonb_object_agg(s.name, s.value) from settings s where s.kind = 'job' and s.value is not null);
    max_waiting int := (select s.value from settings s where s.name = 'max_waiting_jobs');
    columns text[] := array(
        select a.attname::text from pg_attribute a where a.attrelid = 'loradex.jobs'::regclass and a.attnum > 0);
    integers text[] := array(select s.name from settings s where s.kind = 'job' and s.type = 'integer');
    asking bigint := current_owner();
    with_key constant bigint := current_key();
    key_takes int;
    wanted int;
    turns bigint[];
    ids uuid[];
    waiting int;
    inserted int;
    shared boolean;
    -- The caller's own.
    patience text := current_setting('lock_timeout');
    clash text;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = 'LX001', message =
            'enqueue_jobs counts the queue as it is now; call it in a READ COMMITTED transaction';
    end if;
    perform check_scope('ask');
    perform check_jobs(enqueue_jobs.jobs, defaults);
    wanted := json_array_length(enqueue_jobs.jobs::json);
    if wanted = 0 then
        return;
    end if;

    shared := wanted <= max_waiting / 2 / current_setting('max_connections')::int;
    begin
        perform set_config('lock_timeout', '5s', true);
        if asking is null then
            insert into owners (name, role) select r.rolname, r.oid from pg_roles r where r.rolname = session_user
            on conflict do nothing;
            asking := current_owner();
        end if;
        if with_key is not null then
            select k.max_waiting into key_takes from api_keys k where k.id = with_key;
        end if;
        if key_takes is not null then
            perform from api_keys k where k.id = with_key for no key update;
            select count(*) into waiting
            from (select from loradex.jobs j where j.api_key_id = with_key and j.state = 'queued' limit key_takes) w;
            if waiting + wanted > key_takes
               and waiting + fresh_jobs(enqueue_jobs.jobs::json, asking) > key_takes then
                raise exception using errcode = 'LX008', message = format(
                    '%s jobs of this key wait and it may have %s; wait for some, or hand in fewer', waiting, key_takes);
            end if;
        end if;
        if shared then
            begin
                lock table loradex.queue_lock in share mode;
                select count(*) into waiting
                from (select from loradex.jobs j where j.state = 'queued' limit max_waiting) w;
                if waiting + wanted > max_waiting / 2 then
                    -- Leaving the block this way gives the shared lock back.
                    raise exception using errcode = 'LX008';
                end if;
            exception
                when sqlstate 'LX008' then
                    shared := false;
            end;
        end if;
        if not shared then
            lock table loradex.queue_lock in exclusive mode;
            select count(*) into waiting
            from (select from loradex.jobs j where j.state = 'queued' limit max_waiting) w;
        end if;
        perform set_config('lock_timeout', patience, true);
    exception
        when lock_not_available then
            if fresh_jobs(enqueue_jobs.jobs::json, asking) > 0 then
                raise exception using errcode = 'LX008', message =
                    'the queue must count exactly and a session that enqueued has not committed for 5 s; try again later';
            end if;
            waiting := 0;
    end;
    if waiting + wanted > max_waiting and waiting + fresh_jobs(enqueue_jobs.jobs::json, asking) > max_waiting then
        raise exception using errcode = 'LX008', message = format(
            '%s jobs wait and the queue takes %s; try again later, start more workers, or raise the setting '
            'max_waiting_jobs', waiting, max_waiting);
    end if;

    turns := next_turns(enqueue_jobs.jobs::json, asking, defaults);
    ids := array(select uuidv7() from generate_series(1, wanted));
    insert into loradex.jobs overriding user value
    select r.*
    from json_array_elements(enqueue_jobs.jobs::json) with ordinality e(job, ordinal)
    cross join lateral complete_job(ids[e.ordinal], asking, turns[e.ordinal], e.job::jsonb, defaults, columns, integers) r
    on conflict (owner_id, idempotency_key) where idempotency_key is not null do nothing;
    get diagnostics inserted = row_count;
    if inserted > 0 then
        perform notify_workers();
    end if;
    if inserted = wanted then
        return query select i.ordinal::int, i.id, true from unnest(ids) with ordinality i(id, ordinal);
        return;
    end if;

    -- What was not inserted has a key that was used before, perhaps earlier in this very call. The same words are the same
    -- request, though the defaults were others then; so are other words that come to the same.
    select e.job ->> 'idempotency_key' into clash
    from json_array_elements(enqueue_jobs.jobs::json) with ordinality e(job, ordinal)
    join loradex.jobs old on old.owner_id = asking and old.idempotency_key = e.job ->> 'idempotency_key'
    cross join lateral complete_job(ids[e.ordinal], asking, turns[e.ordinal], e.job::jsonb, defaults, columns, integers) r
    where old.id <> ids[e.ordinal] and old.asked is distinct from r.asked and job_request(old) <> job_request(r)
    limit 1;
    if found then
        raise exception using errcode = 'LX007', message = format(
            'idempotency key %s was used before for a different job; use a new key, or ask the same again', shown(clash));
    end if;
    return query
    select e.ordinal::int, coalesce(fresh.id, old.id), fresh.id is not null
    from json_array_elements(enqueue_jobs.jobs::json) with ordinality e(job, ordinal)
    left join loradex.jobs fresh on fresh.id = ids[e.ordinal]
    left join loradex.jobs old on old.owner_id = asking and old.idempotency_key = e.job ->> 'idempotency_key';
end
$$;
comment on function loradex.enqueue_jobs(loradex.call_document) is
    'Accepts jobs (a JSON array of objects with the fields of loradex.settings), all or none; returns their ids.';
revoke execute on function loradex.enqueue_jobs(loradex.call_document) from public;
grant execute on function loradex.enqueue_jobs(loradex.call_document) to loradex_client, loradex_admin;

create or replace function loradex.enqueue_jobs(jobs jsonb)
returns table (ordinal int, job_id uuid, created boolean)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    -- A value that a table keeps compressed is measured as text, by the other form.
    perform check_call_size(pg_column_size(enqueue_jobs.jobs));
    return query select * from enqueue_jobs(enqueue_jobs.jobs::text::call_document);
end
$$;
comment on function loradex.enqueue_jobs(jsonb) is
    'enqueue_jobs for a document that is jsonb already.';
revoke execute on function loradex.enqueue_jobs(jsonb) from public;
grant execute on function loradex.enqueue_jobs(jsonb) to loradex_client, loradex_admin;

-- file: functions/erase_jobs.sql
-- Erases what can be erased of jobs and their answers (answer_erasable), and leaves a note in the chain that says which
-- answers, why and by whom. No message of a job stays, which may quote its question or name somebody. The owner's name
-- does, in the job as in the answer, where the chain covers it. Jobs that wait or are being answered end as failed,
-- with the code `erased`, and the workers that have them in hand are told. At most at_most jobs are taken at a time: call
-- it until it says 0, which it does only when none is left. What Postgres keeps of old rows goes with the next vacuum.
-- Locks: the jobs' rows and their routings; then, until the transaction ends, the table chain_lock, as record_answer.
-- Raises: LX001 no reason, nothing asked for, or another isolation.
create or replace function loradex.erase_jobs(
    reason text,
    asked_by text,
    job_ids uuid[] default null,
    owner_id bigint default null,
    before timestamptz default null,
    at_most int default 500
) returns table (jobs int, answers int)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    now constant timestamptz := clock_timestamp();
    candidates uuid[];
    erased_jobs uuid[];
    note erasures;
    head record;
    job jobs;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = 'LX001', message =
            'erase_jobs reads the newest link of the chain; call it in a READ COMMITTED transaction';
    end if;
    if coalesce(trim(reason), '') = '' or length(reason) > 1000 or coalesce(trim(asked_by), '') = ''
       or length(asked_by) > 200 or coalesce(at_most, 0) not between 1 and 10000 then
        raise exception using errcode = 'LX001', message =
            'erasing needs a reason of at most 1000 characters, who asked for it in at most 200, and 1 to 10000 jobs';
    end if;

    loop
        candidates := array(
            select f.job_id
            from jobs_to_erase(erase_jobs.job_ids, erase_jobs.owner_id, erase_jobs.before, at_most) f);
        erased_jobs := array(
            select j.id from jobs j where j.id = any (candidates) and j.erased_at is null order by j.id for update);
        -- All candidates may be gone once they are locked, if another erasure or drop_archived came first. Others are left.
        exit when cardinality(candidates) = 0 or cardinality(erased_jobs) > 0;
    end loop;
    for job in select j.* from jobs j where j.id = any (erased_jobs) and j.state in ('queued', 'running') loop
        perform end_job(job, 'failed', 'erased', 'its question was erased before it was answered', now);
    end loop;
    -- Vectors of questions, should a route_jobs have kept one just after its job ended.
    delete from routings r where r.job_id = any (erased_jobs);
    update jobs j
    set prompt = '', messages = null, choices = case when j.choices is not null then '{}'::text[] end, idempotency_key = null,
        asked = null,
        metadata = null, traceparent = null, settings = j.settings - array['stop', 'json_schema', 'regex'],
        pieces_key = null, cancelled_by = case when j.cancelled_by is not null then 'erased' end,
        error_message = case when j.error_code = 'erased' then j.error_message
                             when j.error_code is not null then 'erased' end,
        erased_at = now
    where j.id = any (erased_jobs);

    with emptied as (
        update answers a
        set prompt = null, messages = null, choices = null, stop = null, held_to = null, text = null, choice = null, token_ids = null, logprobs = null,
            query = null, salt = null, commitments = answer_commitments(a)
        where a.id in (select j.answer_id from jobs j where j.id = any (erased_jobs)) and a.commitments is null
        returning a.id
    )
    select coalesce(array_agg(e.id order by e.id), '{}') into note.answers from emptied e;
    if cardinality(note.answers) > 0 then
        lock table loradex.chain_lock in exclusive mode;
        select * into head from chain_head();
        note.id := uuidv7();
        note.position := head.position + 1;
        note.reason := erase_jobs.reason;
        note.asked_by := erase_jobs.asked_by;
        note.login := session_user;
        note.created_at := clock_timestamp();
        note.previous_hash := head.chain_hash;
        note.chain_hash := sha256(note.previous_hash || convert_to(erasure_canonical(note), 'UTF8'));
        insert into erasures select note.*;
    end if;
    return query select cardinality(erased_jobs), cardinality(note.answers);
end
$$;
comment on function loradex.erase_jobs(text, text, uuid[], bigint, timestamptz, int) is
    'Erases texts and vectors of jobs and their answers, and leaves a chained note; returns how many.';
revoke execute on function loradex.erase_jobs(text, text, uuid[], bigint, timestamptz, int) from public;
grant execute on function loradex.erase_jobs(text, text, uuid[], bigint, timestamptz, int) to loradex_admin;

-- file: functions/erasure_canonical.sql
-- The text that the hash of a note of an erasure covers: every column but the hash itself, as JSON with sorted keys.
-- Locks: none. Raises: nothing.
create or replace function loradex.erasure_canonical(erasure loradex.erasures) returns text
language plpgsql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set bytea_output = 'hex'
as $$
begin
    return (to_jsonb(erasure) - 'chain_hash')::text;
end
$$;
comment on function loradex.erasure_canonical(loradex.erasures) is
    'The text the chain hash of a note of an erasure covers: every column but the hash itself.';
revoke execute on function loradex.erasure_canonical(loradex.erasures) from public;
grant execute on function loradex.erasure_canonical(loradex.erasures)
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/example_influence.sql
-- The answers that an example helped to decide, where it weighed most first. It looks at the neighbours of every answer.
-- Locks: none. Raises: LX002 unknown example.
create or replace function loradex.example_influence(example bigint) returns table (
    answer_id uuid, created_at timestamptz, rank int, similarity float8, vote float8, task_weight float8, prompt text
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    if not exists (select from examples e where e.id = example)
       and not exists (select from answers a where a.example_ids @> array[example]) then
        raise exception using errcode = 'LX002', message = format(
            'no example %s; find its id in loradex.examples', coalesce(example::text, 'null'));
    end if;
    return query
    select a.id, a.created_at, r.rank, r.similarity, v.vote, a.task_weights[r.place], a.prompt
    from answers a
    cross join lateral (
        select n.rank, a.similarities[n.rank] as similarity, a.example_tasks[n.rank] as task,
               array_position(a.tasks, a.example_tasks[n.rank]) as place
        from (select array_position(a.example_ids, example) as rank) n
    ) r
    cross join lateral (
        -- Its share of its task's votes times the task's probability.
        select a.probabilities[r.place]
               * exp(greatest((r.similarity - a.task_similarities[r.place]) / greatest(a.temperature, 1e-9), -700))
               / sum(exp(greatest((o.similarity - a.task_similarities[r.place]) / greatest(a.temperature, 1e-9), -700)))
               as vote
        from unnest(a.example_tasks, a.similarities) o(task, similarity)
        where o.task = r.task
    ) v
    where a.example_ids @> array[example] and r.place is not null
    order by v.vote desc, a.position;
end
$$;
comment on function loradex.example_influence(bigint) is
    'Answers an example helped to decide: its rank, its share of all votes, and the weight its task got.';
revoke execute on function loradex.example_influence(bigint) from public;
grant execute on function loradex.example_influence(bigint) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/example_neighbours.sql
-- The neighbours of stored examples, without themselves: what the functions of hygiene look at. `examples_a_task`
-- limits how many examples of each task are looked at (null: all); the first in order of id, so that it repeats.
-- Locks: none. Raises: LX001 bad k; LX002 unknown encoder.
create or replace function loradex.example_neighbours(
    k int default 16, encoder text default 'all-MiniLM-L6-v2', examples_a_task int default null
) returns table (
    example_id bigint, task text, rank int, neighbour_id bigint, neighbour_task text, similarity float8
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    chosen bigint[];
    -- Of one chunk.
    ids bigint[];
    tasks text[];
    requests route_request[];
    nearby neighbour[];
begin
    if k is null or k not between 1 and 999 then
        raise exception using errcode = 'LX001', message = format(
            'k is %s; ask for 1 to 999, since an example finds itself', coalesce(k::text, 'null'));
    end if;
    if not exists (select from encoders e where e.name = example_neighbours.encoder) then
        raise exception using errcode = 'LX002', message = format(
            'no encoder %s; known are those of loradex.encoders', shown(encoder));
    end if;
    -- Vectors are fetched a chunk at a time: sorted with all of them, a large library would not fit into memory.
    chosen := array(
        select x.example_id
        from (
            select y.example_id, row_number() over (partition by y.task order by y.example_id) as in_task
            from example_embeddings y where y.encoder = example_neighbours.encoder
        ) x
        where examples_a_task is null or x.in_task <= examples_a_task
        order by x.example_id);
    for start in 1 .. cardinality(chosen) by 256 loop
        ids := chosen[start : start + 255];
        select array_agg(y.task order by i.place),
               array_agg(row(i.place, y.embedding, k + 1, 1, 1, '{}', null, '{}', null)::route_request order by i.place)
        into tasks, requests
        from unnest(ids) with ordinality i(id, place)
        join example_embeddings y on y.example_id = i.id and y.encoder = example_neighbours.encoder;
        nearby := search_examples(requests, encoder);
        return query
        select ids[n.ordinal], tasks[n.ordinal], n.place::int, n.example_id, n.task, n.similarity
        from (
            select m.*, row_number() over (partition by m.ordinal order by m.rank) as place
            from unnest(nearby) m where m.example_id <> ids[m.ordinal]
        ) n
        where n.place <= k;
    end loop;
end
$$;
comment on function loradex.example_neighbours(int, text, int) is
    'The k nearest other examples of every example (or of the first examples_a_task of each task).';
revoke execute on function loradex.example_neighbours(int, text, int) from public;
grant execute on function loradex.example_neighbours(int, text, int) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/examples_hash.sql
-- What the texts of examples are, in 32 bytes: SHA-256 over their content hashes in the order of the ids, one per line. An
-- example that is gone counts as an empty line.
-- Locks: none. Raises: nothing.
create or replace function loradex.examples_hash(example_ids bigint[]) returns bytea
language sql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select sha256(convert_to(coalesce(string_agg(coalesce(x.sha256, '') || E'\n', '' order by i.place), ''), 'UTF8'))
    from unnest(example_ids) with ordinality i(id, place)
    left join examples x on x.id = i.id
$$;
comment on function loradex.examples_hash(bigint[]) is
    'SHA-256 over the content hashes of examples, in order: what their texts are.';
revoke execute on function loradex.examples_hash(bigint[]) from public;
grant execute on function loradex.examples_hash(bigint[])
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/expire_jobs.sql
-- Ends as expired what has no answer at its deadline, waiting or running: up to 10000 jobs, the longest overdue first.
-- claim_jobs calls it, and so does every worker while it answers a batch; what is left over ends at the next call.
-- Locks: the jobs' rows, FOR UPDATE SKIP LOCKED. Raises: LX001 another time than now.
create or replace function loradex.expire_jobs(now timestamptz default now()) returns int
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    job jobs;
    ended int := 0;
begin
    perform check_lease(interval '1 second', expire_jobs.now);
    for job in
        select j.* from jobs j
        where j.expires_at <= expire_jobs.now and j.state in ('queued', 'running')
        order by j.expires_at limit 10000
        for update skip locked
    loop
        perform end_job(job, 'expired', 'job_expired', expiry(job.deadline), expire_jobs.now);
        ended := ended + 1;
    end loop;
    return ended;
end
$$;
comment on function loradex.expire_jobs(timestamptz) is
    'Ends as expired what has no answer at its deadline; returns how many jobs that were.';
revoke execute on function loradex.expire_jobs(timestamptz) from public;
grant execute on function loradex.expire_jobs(timestamptz) to loradex_worker;

-- file: functions/expiry.sql
-- What whoever waits for a job is told when it is past its deadline.
-- Locks: none. Raises: nothing.
create or replace function loradex.expiry(deadline float8) returns text
language sql immutable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select format('it had no answer within its deadline of %s s', deadline)
$$;
comment on function loradex.expiry(float8) is 'The message of a job that is past its deadline.';
revoke execute on function loradex.expiry(float8) from public;
grant execute on function loradex.expiry(float8) to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/explain.sql
-- Everything that is known about an answer, as one JSON document: answer_document, how the answer came about, and the
-- texts of its neighbours where the library still holds what it held then. The chain covers all of it but the keys that
-- `unchained` names. `erased` says whether its texts are gone.
-- Locks: none. Raises: LX004 unknown answer, or another user's.
create or replace function loradex.explain(answer_id uuid) returns jsonb
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
    answer answers;
    job jobs;
    told jsonb;
    same_texts boolean;
begin
    select a.* into answer from answers a where a.id = explain.answer_id;
    if not found then
        raise exception using errcode = 'LX004', message = format(
            'no answer %s, or it is another user''s; check the id', coalesce(explain.answer_id::text, 'null'));
    end if;
    select j.* into job from jobs j where j.id = answer.job_id;
    told := answer_document(answer);
    -- Texts lie in the library, which changes; they are shown as evidence only while they are what they were.
    same_texts := answer.examples_hash = examples_hash(answer.example_ids);
    return told || jsonb_build_object(
        'owner', answer.owner,
        'attempt', answer.attempt,
        'worker', answer.worker,
        'created_at', answer.created_at,
        'kind', answer.generation -> 'kind',
        'prompt', answer.prompt,
        'messages', answer.messages,
        'framed', framed_text(answer),
        'choices', to_jsonb(answer.choices),
        'token_ids', to_jsonb(answer.token_ids),
        'base_model', answer.base_model,
        'base_model_revision', answer.base_model_revision,
        'expected_task', job.expected_task,
        'unchained', '["expected_task"]'::jsonb,
        'neighbours_texts', case when same_texts then 'as they were'
                                 else 'withheld: the library holds other texts than when this was answered' end,
        'neighbours', coalesce((
            select jsonb_agg(n.neighbour || jsonb_build_object(
                'prompt', case when same_texts then x.prompt end, 'target', case when same_texts then x.target end)
                order by n.place)
            from jsonb_array_elements(told -> 'neighbours') with ordinality n(neighbour, place)
            -- The limit keeps it a lookup by id for each; joined freely, all examples would be read.
            left join lateral (
                select e.prompt, e.target from examples e
                where e.id = (n.neighbour ->> 'example_id')::bigint limit 1) x on true), '[]'),
        'retrieval', jsonb_build_object(
            'query', answer.query::text::jsonb, 'encoder', answer.encoder, 'encoder_revision', answer.encoder_revision,
            'k', answer.k, 'top_p', answer.top_p, 'temperature', answer.temperature,
            'exclude_tasks', answer.exclude_tasks, 'exclude_adapters', answer.exclude_adapters,
            'milliseconds', answer.routing_milliseconds, 'examples_hash', answer.examples_hash::text),
        'merge', jsonb_build_object(
            'recipe_hash', encode(answer.recipe_hash, 'hex'), 'method', answer.method, 'merge', answer.merge,
            'calibrated', answer.calibrated, 'density', answer.density, 'dtype', answer.merge_dtype,
            'update_norm', answer.update_norm, 'sign_conflict', answer.sign_conflict,
            'milliseconds', answer.merge_milliseconds),
        'versions', answer.versions,
        'erased', answer.commitments is not null);
end
$$;
comment on function loradex.explain(uuid) is
    'Everything known about an answer as one JSON document: question, retrieval, distribution, merge, answer, chain.';
revoke execute on function loradex.explain(uuid) from public;
grant execute on function loradex.explain(uuid)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/extend_lease.sql
-- Prolongs the lease of running jobs that are still this worker's, yet not beyond max_held_seconds altogether.
-- Locks: the jobs' rows. Raises: LX001 no lease, or a token that is too short.
create or replace function loradex.extend_lease(
    worker text, job_ids uuid[], lease interval, now timestamptz default now(), token text default null
) returns int
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    mine bytea := claim_hash(token);
    max_held int := (select s.value from settings s where s.name = 'max_held_seconds');
    extended int;
begin
    perform check_lease(lease, extend_lease.now);
    update jobs j
    set lease_until = least(
        extend_lease.now + lease, j.started_at + make_interval(secs => max_held - j.held_seconds))
    where j.id = any (job_ids) and j.state = 'running' and j.worker = extend_lease.worker and j.claim_hash = mine
      and held_seconds(j, extend_lease.now) < max_held;
    get diagnostics extended = row_count;
    return extended;
end
$$;
comment on function loradex.extend_lease(text, uuid[], interval, timestamptz, text) is
    'Prolongs the lease of running jobs that are still this worker''s; returns how many.';
revoke execute on function loradex.extend_lease(text, uuid[], interval, timestamptz, text) from public;
grant execute on function loradex.extend_lease(text, uuid[], interval, timestamptz, text) to loradex_worker;

-- file: functions/fail_job.sql
-- Ends a claimed job as failed, with the reason.
-- Locks: the job's row. Raises: LX003 unknown job; LX006 the attempt is no longer the job's, or the claim is another's;
-- LX001 no code.
create or replace function loradex.fail_job(
    job_id uuid, attempt int, code text, message text, now timestamptz default now(), token text default null
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if coalesce(code, '') !~ '^[a-z0-9_]{1,100}$' then
        raise exception using errcode = 'LX001', message =
            'a failed job needs an error code of small letters, digits and _; name the reason';
    end if;
    perform check_lease(interval '1 second', fail_job.now);
    perform end_job(
        fence_job(job_id, attempt, token), 'failed', code, coalesce(message, 'no reason recorded'), fail_job.now);
end
$$;
comment on function loradex.fail_job(uuid, int, text, text, timestamptz, text) is
    'Ends a claimed job as failed and notifies loradex_jobs; refused with LX006 if the attempt is over.';
revoke execute on function loradex.fail_job(uuid, int, text, text, timestamptz, text) from public;
grant execute on function loradex.fail_job(uuid, int, text, text, timestamptz, text) to loradex_worker;

-- file: functions/fence_job.sql
-- The job's row, locked, if this attempt may still write for it: a worker that comes back from the dead may not, and
-- neither may whoever did not claim it.
-- Locks: the job's row, FOR UPDATE. Raises: LX003 unknown job; LX006 the attempt is no longer the job's, or the claim is
-- another's.
create or replace function loradex.fence_job(job_id uuid, attempt int, token text default null) returns loradex.jobs
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    mine bytea := claim_hash(token);
    job jobs;
begin
    select j.* into job from jobs j where j.id = fence_job.job_id for update;
    if not found then
        raise exception using errcode = 'LX003', message = format('no job %s', coalesce(job_id::text, 'null'));
    end if;
    if job.state <> 'running' or job.attempt is distinct from fence_job.attempt then
        raise exception using errcode = 'LX006', message = format(
            'attempt %s at job %s is over: the job is %s at attempt %s; drop this result',
            coalesce(fence_job.attempt::text, 'null'), job_id, job.state, job.attempt);
    end if;
    if job.claim_hash is distinct from mine then
        raise exception using errcode = 'LX006', message = format(
            'attempt %s at job %s was claimed by another login or with another token; drop this result',
            fence_job.attempt, job_id);
    end if;
    return job;
end
$$;
comment on function loradex.fence_job(uuid, int, text) is
    'Locks and returns a running job if the attempt is still its own, else raises LX006; internal.';
revoke execute on function loradex.fence_job(uuid, int, text) from public;

-- file: functions/finish_reason.sql
-- Why an answer ended: `choice` where choices were ranked; of a text `stop` where it came to its end, `length` where it
-- was cut off at max_new_tokens.
-- It is asked of many answers at once, and their generation is kept out of line: it is fetched once.
-- Locks: none. Raises: nothing.
create or replace function loradex.finish_reason(generation jsonb, output_tokens int) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    fetched constant jsonb := generation || '{}';
begin
    return case
        when fetched ->> 'kind' = 'choose' then 'choice'
        -- A text may come to its end with the last token that the job allows: the worker alone knows which tokens end one.
        when fetched ? 'finish_reason' then fetched ->> 'finish_reason'
        when output_tokens >= (fetched ->> 'max_new_tokens')::int then 'length'
        else 'stop' end;
end
$$;
comment on function loradex.finish_reason(jsonb, int) is
    'Why an answer ended: choice, stop or length, from its generation and its tokens.';
revoke execute on function loradex.finish_reason(jsonb, int) from public;
grant execute on function loradex.finish_reason(jsonb, int)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/first_id.sql
-- The least id that an answer of a moment can have: ids begin with their time in milliseconds. With it, answers of a time
-- are found without looking at other months: `where id >= loradex.first_id(now() - interval '1 day')`. Moments before
-- 1970 and after 9999 have the ids of these.
-- Locks: none. Raises: nothing.
create or replace function loradex.first_id(moment timestamptz) returns uuid
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select case when moment is not null then rpad(lpad(to_hex(floor(1000 * extract(
        epoch from least(greatest(moment, '1970-01-01 00:00+00'), '9999-12-31 00:00+00')))::bigint), 12, '0'), 32, '0')
        end::uuid
$$;
comment on function loradex.first_id(timestamptz) is
    'The least id that an answer of a moment can have, to find answers of a time without looking at other months.';
revoke execute on function loradex.first_id(timestamptz) from public;
grant execute on function loradex.first_id(timestamptz) to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/framed_text.sql
-- What the base model read for an answer, as one text: the prompt in the model's frame, or the conversation as its chat
-- template laid it out. Null once it was erased.
-- Locks: none. Raises: nothing.
create or replace function loradex.framed_text(answer loradex.answers) returns text
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select case
        when answer.prompt is null then null
        when answer.generation ? 'framed' then (
            select string_agg(case
                when jsonb_typeof(p.part) = 'string' then p.part #>> '{}'
                else left(substr(m.content, 1 + coalesce((p.part ->> 'left')::int, 0)),
                          length(m.content) - coalesce((p.part ->> 'left')::int, 0)
                              - coalesce((p.part ->> 'right')::int, 0))
                end, '' order by p.place)
            from jsonb_array_elements(answer.generation #> '{framed,parts}') with ordinality p(part, place)
            left join lateral (
                select answer.messages #>> array[p.part ->> 'message', 'content']
            ) m(content) on true)
        else replace(answer.generation ->> 'frame', '{prompt}', answer.prompt) end
$$;
comment on function loradex.framed_text(loradex.answers) is
    'What the base model read for an answer: the prompt in its frame, or the conversation in its chat template.';
revoke execute on function loradex.framed_text(loradex.answers) from public;
grant execute on function loradex.framed_text(loradex.answers)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/fresh_jobs.sql
-- How many jobs of a call would be new: not those whose idempotency key their owner has used before. A key that comes
-- twice in the call counts twice.
-- Locks: none. Raises: nothing; check_jobs has read the document before.
create or replace function loradex.fresh_jobs(jobs json, owner bigint) returns int
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select count(*)::int
    from json_array_elements(fresh_jobs.jobs) e(job)
    where not exists (
        select from loradex.jobs old
        where old.owner_id = fresh_jobs.owner and old.idempotency_key = e.job ->> 'idempotency_key')
$$;
comment on function loradex.fresh_jobs(json, bigint) is
    'How many jobs of a call have no idempotency key that their owner used before; internal.';
revoke execute on function loradex.fresh_jobs(json, bigint) from public;

-- file: functions/give_up_job.sql
-- Ends a job as failed because workers lost it too often (code too_many_attempts) or held it for too long (held_too_long).
-- Locks: the job's row, which its callers have locked before. Raises: nothing.
create or replace function loradex.give_up_job(
    job loradex.jobs, code text, worker text, held float8, now timestamptz
) returns void
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    perform end_job(
        job, 'failed', code,
        case code
            when 'held_too_long' then format(
                'workers held it for %s s altogether without an answer (setting max_held_seconds)', round(held))
            else format('it was lost %s times by its workers', job.attempt - job.releases)
        end || format(', the last of them %s; look at that worker''s log, then enqueue it again', worker),
        give_up_job.now);
end
$$;
comment on function loradex.give_up_job(loradex.jobs, text, text, float8, timestamptz) is
    'Ends a job as failed that workers lost too often or held for too long; internal.';
revoke execute on function loradex.give_up_job(loradex.jobs, text, text, float8, timestamptz) from public;

-- file: functions/group_duplicates.sql
-- Lets one example of each group of near duplicates stand for all in the index of an encoder, which is then as small
-- and as quick to search as if there were no copies. Who stands for whom is in duplicate_of; a search opens the groups
-- it finds. Returns how many examples joined a group.
--
-- One pass in random order (the leader algorithm, Hartigan 1975): an example joins one of its task that is 0.98 alike
-- or more, if there is one, or stands for itself. Groups of before stay. If there were none, and of the first sixteenth
-- (at least 1,000) not one in ten has joined, it ends there and changes nothing: too few are copies.
-- Call it between drop_encoder_index and build_encoder_index, each in a transaction of its own: what joined is written
-- anew, and an index built in the same transaction would hold the old rows too. Vacuum afterwards.
-- Locks: example_embeddings against writes. Raises: LX002 unknown encoder.
create or replace function loradex.group_duplicates(encoder text) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
set hnsw.ef_search = 16
set hnsw.iterative_scan = off
set enable_hashjoin = on
set enable_mergejoin = on
as $$
declare
    -- As duplicate_examples has it.
    farthest constant float8 := 1 - 0.98;
    dimensions constant int := (select e.dimensions from encoders e where e.name = encoder);
    of_before bigint;
    trial bigint;
    looked bigint := 0;
    example record;
    vector halfvec;
    leader bigint;
    joined bigint[] := '{}';
    joined_to bigint[] := '{}';
begin
    if dimensions is null then
        raise exception using errcode = 'LX002', message = format(
            'no encoder %s; register it with loradex.register_encoder', shown(encoder));
    end if;
    lock table example_embeddings in share row exclusive mode;
    execute format(
        'create unlogged table loradex.leaders (example_id bigint, task text, embedding halfvec(%s))', dimensions);
    create index on leaders using hnsw (embedding halfvec_cosine_ops);
    insert into leaders
    select x.example_id, x.task, x.embedding
    from example_embeddings x
    where x.encoder = group_duplicates.encoder
      and x.example_id in (
        select d.duplicate_of from example_embeddings d where d.encoder = group_duplicates.encoder);
    get diagnostics of_before = row_count;

    select greatest(count(*) / 16, 1000) into trial
    from example_embeddings x where x.encoder = group_duplicates.encoder and x.duplicate_of is null;
    -- By the ids alone: with their vectors they would be sorted on disk.
    for example in
        select x.example_id as id, x.task
        from example_embeddings x
        where x.encoder = group_duplicates.encoder and x.duplicate_of is null
          and not exists (select from leaders l where l.example_id = x.example_id)
        order by hashint8(x.example_id)
    loop
        select x.embedding into vector
        from example_embeddings x where x.example_id = example.id and x.encoder = group_duplicates.encoder;
        -- Of the nearest four, since another task may have the same text.
        select n.example_id into leader
        from (
            select l.example_id, l.task, l.embedding <=> vector as distance
            from leaders l order by l.embedding <=> vector limit 4
        ) n
        where n.task = example.task and n.distance <= farthest
        order by n.distance
        limit 1;
        if found then
            joined := joined || example.id;
            joined_to := joined_to || leader;
        else
            insert into leaders values (example.id, example.task, vector);
        end if;
        looked := looked + 1;
        if looked = trial and of_before = 0 and cardinality(joined) < looked / 10 then
            joined := '{}';
            joined_to := '{}';
            exit;
        end if;
    end loop;
    drop table leaders;

    -- In order of the groups, each with who stands for it, so that a group's new rows lie together: opening one then
    -- reads 6 pages, not 30. Joined any other way the rows would come in another order.
    perform set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true);
    update example_embeddings x set duplicate_of = nullif(g.leader, g.example_id)
    from (
        select * from unnest(joined, joined_to) u(example_id, leader)
        union
        select u.leader, u.leader from unnest(joined_to) u(leader)
        order by leader, example_id
    ) g
    where x.example_id = g.example_id and x.encoder = group_duplicates.encoder;
    return cardinality(joined);
end
$$;
comment on function loradex.group_duplicates(text) is
    'Groups near duplicates, so that one of each group stands for all in the index of the encoder.';
revoke execute on function loradex.group_duplicates(text) from public;
grant execute on function loradex.group_duplicates(text) to loradex_admin;

-- file: functions/held_seconds.sql
-- For how long workers have held a job altogether, if the claim at hand ends at `until`; a job that waits has none. Times
-- have microseconds, and the sum has them exactly however many claims it is made of: it is added up as numeric, since a
-- sum of float8 would drift, and a job could be held a moment more than max_held_seconds.
-- Locks: none. Raises: nothing.
create or replace function loradex.held_seconds(job loradex.jobs, until timestamptz) returns float8
language sql immutable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select (round(job.held_seconds::numeric, 6)
            + coalesce(greatest(extract(epoch from until - job.started_at), 0), 0))::float8
$$;
comment on function loradex.held_seconds(loradex.jobs, timestamptz) is
    'For how long workers have held a job altogether; internal.';
revoke execute on function loradex.held_seconds(loradex.jobs, timestamptz) from public;

-- file: functions/history_of_choices.sql
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

-- file: functions/in_domain_similarity.sql
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

-- file: functions/is_drawn.sql
-- Whether an active adapter is the one of its task that answers a job: none of the others that the job allows drew a
-- smaller number. What the job excludes takes no part in the race: adapters by name, and those trained on excluded tasks.
-- Whether the adapter itself is allowed is its caller's to look at.
-- Ask it only where the adapter's share is less than 1; it reads the task's active adapters.
-- Locks: none. Raises: nothing.
create or replace function loradex.is_drawn(
    adapter loradex.adapters, job_id uuid, exclude_adapters text[], exclude_tasks text[]
) returns boolean
language sql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select not exists (
        select from adapters rival
        where rival.base_model = adapter.base_model and rival.task = adapter.task and rival.state = 'active'
          and rival.id <> adapter.id and rival.name <> all (exclude_adapters)
          and not rival.trained_on && exclude_tasks
          and (adapter_draw(is_drawn.job_id, rival.sha256::text, rival.share), rival.id)
              < (adapter_draw(is_drawn.job_id, adapter.sha256::text, adapter.share), adapter.id))
$$;
comment on function loradex.is_drawn(loradex.adapters, uuid, text[], text[]) is
    'Whether an adapter that shares its task is the one that answers a job; internal.';
revoke execute on function loradex.is_drawn(loradex.adapters, uuid, text[], text[]) from public;
grant execute on function loradex.is_drawn(loradex.adapters, uuid, text[], text[])
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/is_served.sql
-- Whether a worker that lives takes jobs of this base model and encoder. For everybody who asks, since a job that nobody
-- takes is its owner's business; which workers there are, it does not tell.
-- Locks: none. Raises: nothing.
create or replace function loradex.is_served(base_model text, encoder text) returns boolean
language plpgsql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return exists (
        select from living_workers() w
        where w.base_model = is_served.base_model and w.encoder = is_served.encoder);
end
$$;
comment on function loradex.is_served(text, text) is
    'Whether a living worker takes jobs of this base model and encoder.';
revoke execute on function loradex.is_served(text, text) from public;
grant execute on function loradex.is_served(text, text)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/job_obstacle.sql
-- Why a job does not move: null, or a sentence for whoever waits for it.
-- Locks: none. Raises: nothing.
create or replace function loradex.job_obstacle(job_id uuid) returns text
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select format('no living worker takes jobs of base model %s with encoder %s; start one, or name others',
                  j.base_model, j.encoder)
    from jobs j
    where j.id = job_obstacle.job_id and j.state = 'queued' and not is_served(j.base_model, j.encoder)
$$;
comment on function loradex.job_obstacle(uuid) is
    'Why a job does not move, as a sentence; null if a worker will take it.';
revoke execute on function loradex.job_obstacle(uuid) from public;
grant execute on function loradex.job_obstacle(uuid) to loradex_client, loradex_admin;

-- file: functions/job_outcome.sql
-- How far a job is, and its answer once it has one: what whoever waits for it looks at. No row: there is no such job,
-- or it is another user's. A waiting job that is past its deadline is shown as expired even before that is written.
-- Locks: none. Raises: nothing.
create or replace function loradex.job_outcome(job_id uuid)
returns table (state text, error_code text, error_message text, answer jsonb)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select case when a.commitments is not null then 'failed' when late.past then 'expired' else j.state end,
           case when a.commitments is not null then 'erased' when late.past then 'job_expired' else j.error_code end,
           case when a.commitments is not null
                    then format('its answer was erased; `loradex explain %s` shows what is left', a.id)
                when late.past then expiry(j.deadline)
                else j.error_message end,
           case when a.id is not null and a.commitments is null then answer_document(a) end
    from jobs j
    left join answers a on a.id = j.answer_id
    cross join lateral (select coalesce(j.state = 'queued' and j.expires_at <= now(), false)) late(past)
    where j.id = job_outcome.job_id;
end
$$;
comment on function loradex.job_outcome(uuid) is
    'State of a job, why it ended without an answer if it did, and its answer as a JSON document if it has one.';
revoke execute on function loradex.job_outcome(uuid) from public;
grant execute on function loradex.job_outcome(uuid) to loradex_client, loradex_admin;

-- file: functions/job_request.sql
-- What was asked for, without id, trace, state and times, and whether its text is told meanwhile: two jobs are the same
-- request if this is equal.
-- Locks: none. Raises: nothing.
create or replace function loradex.job_request(job loradex.jobs) returns jsonb
language sql immutable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select (to_jsonb(job) #- '{settings,stream}') - array[
        'id', 'api_key_id', 'asked', 'traceparent', 'pieces_key', 'queue_position', 'turn', 'state', 'attempt', 'releases',
        'lease_until', 'worker', 'claim_hash', 'held_seconds',
        'error_code', 'error_message', 'cancelled_by', 'created_at', 'started_at', 'finished_at', 'expires_at',
        'answer_id', 'erased_at']
$$;
comment on function loradex.job_request(loradex.jobs) is 'What a job asks for, as JSON, without its fate.';
revoke execute on function loradex.job_request(loradex.jobs) from public;
grant execute on function loradex.job_request(loradex.jobs)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/jobs_to_erase.sql
-- The jobs of which texts would be erased: those named, those of an owner, those from before a moment, or what several of
-- these have in common; at most at_most of them, any ones, or all. Jobs that were erased are left out, so that erasing can
-- be broken off and gone on with.
-- Locks: none. Raises: LX001 nothing is asked for, or at_most is less than 1.
create or replace function loradex.jobs_to_erase(
    job_ids uuid[] default null, owner_id bigint default null, before timestamptz default null,
    at_most int default null
) returns table (job_id uuid)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if job_ids is null and owner_id is null and before is null then
        raise exception using errcode = 'LX001', message =
            'say what is to be erased: jobs, an owner, or a moment before which';
    end if;
    if at_most < 1 then
        raise exception using errcode = 'LX001', message = 'at_most is 1 or more; leave it out for all';
    end if;
    return query
    select j.id from jobs j
    where j.erased_at is null
      and (jobs_to_erase.job_ids is null or j.id = any (jobs_to_erase.job_ids))
      and (jobs_to_erase.owner_id is null or j.owner_id = jobs_to_erase.owner_id)
      and (jobs_to_erase.before is null or j.created_at < jobs_to_erase.before)
    limit at_most;
end
$$;
comment on function loradex.jobs_to_erase(uuid[], bigint, timestamptz, int) is
    'Jobs of which texts would be erased, by id, owner and age; those that were erased are left out.';
revoke execute on function loradex.jobs_to_erase(uuid[], bigint, timestamptz, int) from public;
grant execute on function loradex.jobs_to_erase(uuid[], bigint, timestamptz, int) to loradex_admin;

-- file: functions/keep_replay.sql
-- A sign of life of the worker that replays an answer. Whether it is to go on: false if nobody waits for it any more, or
-- another worker has it.
-- Locks: the row. Raises: nothing.
create or replace function loradex.keep_replay(replay_id uuid, worker text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    update replays r set claimed_at = now()
    where r.id = replay_id and r.worker = keep_replay.worker and num_nonnulls(r.told, r.error_code) = 0
      and r.created_at >= now() - interval '10 minutes';
    return found;
end
$$;
comment on function loradex.keep_replay(uuid, text) is
    'A sign of life of the worker that replays an answer; whether it is to go on.';
revoke execute on function loradex.keep_replay(uuid, text) from public;
grant execute on function loradex.keep_replay(uuid, text) to loradex_worker;

-- file: functions/leave_embeddings.sql
-- Nobody waits any more for vectors that ask_embeddings asked for: texts and vectors are deleted now. Whether there was
-- such a request; one that is over, or another user's, looks the same.
-- Locks: the row. Raises: nothing.
create or replace function loradex.leave_embeddings(embeddings_id uuid) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    delete from embeddings e where e.id = embeddings_id and e.owner_id = current_owner();
    return found;
end
$$;
comment on function loradex.leave_embeddings(uuid) is
    'Deletes texts whose vectors nobody waits for any more, and vectors that are there; whether there were any.';
revoke execute on function loradex.leave_embeddings(uuid) from public;
grant execute on function loradex.leave_embeddings(uuid) to loradex_client, loradex_admin;

-- file: functions/leave_replay.sql
-- Nobody waits any more for a replay that ask_replay asked for: the request is deleted now, and the worker that computes it
-- lets it go. Whether there was such a request; one that is over, or another user's, looks the same.
-- Locks: the row. Raises: nothing.
create or replace function loradex.leave_replay(replay_id uuid) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    delete from replays r where r.id = replay_id and r.owner_id = current_owner();
    return found;
end
$$;
comment on function loradex.leave_replay(uuid) is 'Deletes a request for a replay that nobody waits for; whether there was one.';
revoke execute on function loradex.leave_replay(uuid) from public;
grant execute on function loradex.leave_replay(uuid) to loradex_client, loradex_admin;

-- file: functions/limit_api_key.sql
-- Sets what an API key may do at most; null takes a limit away. Servers follow within a minute, the queue at once.
-- Locks: the key's row. Raises: LX001 a limit out of its range; LX002 no such key.
create or replace function loradex.limit_api_key(id bigint, requests_a_minute int, max_waiting int) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    perform check_key_limits(limit_api_key.requests_a_minute, limit_api_key.max_waiting);
    update api_keys k
    set requests_a_minute = limit_api_key.requests_a_minute, max_waiting = limit_api_key.max_waiting
    where k.id = limit_api_key.id;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no key %s; see `loradex key list`', coalesce(limit_api_key.id::text, 'null'));
    end if;
end
$$;
comment on function loradex.limit_api_key(bigint, int, int) is
    'Sets how many requests a minute and waiting jobs an API key may have; null is no limit.';
revoke execute on function loradex.limit_api_key(bigint, int, int) from public;
grant execute on function loradex.limit_api_key(bigint, int, int) to loradex_admin;

-- file: functions/list_api_keys.sql
-- Every API key without its hash, oldest first, those that were revoked or have expired too.
-- Locks: none. Raises: nothing.
create or replace function loradex.list_api_keys() returns table (
    id bigint, owner text, name text, scopes text[], state text, created_at timestamptz, created_by text,
    expires_at timestamptz, revoked_at timestamptz, last_used_at timestamptz, old_until timestamptz,
    requests_a_minute int, max_waiting int
)
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select k.id, o.name, k.name, k.scopes,
           case when k.revoked_at is not null then 'revoked' when k.expires_at <= now() then 'expired' else 'good' end,
           k.created_at, k.created_by, k.expires_at, k.revoked_at, k.last_used_at,
           case when k.old_until > now() then k.old_until end, k.requests_a_minute, k.max_waiting
    from api_keys k join owners o on o.id = k.owner_id
    order by k.id
$$;
comment on function loradex.list_api_keys() is 'Every API key without its hash, and whether it is good.';
revoke execute on function loradex.list_api_keys() from public;
grant execute on function loradex.list_api_keys() to loradex_admin;

-- file: functions/living_workers.sql
-- The workers that gave a sign of life within the setting worker_silence_seconds.
-- Locks: none. Raises: nothing.
create or replace function loradex.living_workers() returns setof loradex.workers
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select w.* from workers w
    where w.seen_at > now() - make_interval(secs => (
        select s.value::float8 from settings s where s.name = 'worker_silence_seconds'))
$$;
comment on function loradex.living_workers() is 'The workers that gave a sign of life lately.';
revoke execute on function loradex.living_workers() from public;
grant execute on function loradex.living_workers() to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/make_partition.sql
-- Makes the partition of answers for a moment's month (UTC), unless it is there. record_answer calls it, so that nobody
-- has to see to it. It is made beside the table and then attached, which holds up nobody who reads or writes answers.
-- Locks: loradex.answers in SHARE UPDATE EXCLUSIVE mode, where a partition is made. Raises: nothing of its own.
create or replace function loradex.make_partition(moment timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    first_day timestamptz := date_trunc('month', moment, 'UTC');
    name text := to_char(first_day at time zone 'UTC', '"answers_"YYYY_MM');
begin
    if to_regclass('loradex.' || name) is not null then
        return;
    end if;
    execute format('create table loradex.%I (like loradex.answers including all)', name);
    execute format(
        'create trigger append_only before delete or truncate on loradex.%I '
        'for each statement execute function loradex.refuse_change()', name);
    execute format(
        'alter table loradex.answers attach partition loradex.%I for values from (%L) to (%L)',
        name, first_id(first_day), first_id((first_day at time zone 'UTC' + interval '1 month') at time zone 'UTC'));
end
$$;
comment on function loradex.make_partition(timestamptz) is
    'Makes the partition of answers for a month, unless it is there; internal.';
revoke execute on function loradex.make_partition(timestamptz) from public;

-- file: functions/mislabelled_candidates.sql
-- Examples whose neighbours nearly all belong to one other task: filed under the wrong task, or not telling.
-- Locks: none. Raises: LX001 bad k or share; LX002 unknown encoder.
create or replace function loradex.mislabelled_candidates(
    k int default 16, share float8 default 0.9, encoder text default 'all-MiniLM-L6-v2'
) returns table (
    example_id bigint, task text, source_ref text, looks_like text, neighbours_alike int, neighbour_share float8
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    if share is null or not (share > 0.5 and share <= 1) then
        raise exception using errcode = 'LX001', message = format(
            'share is %s; give more than 0.5 and at most 1', coalesce(share::text, 'null'));
    end if;
    return query
    with counted as (
        select n.example_id, n.task, n.neighbour_task, count(*)::int as alike,
               count(*) / sum(count(*)) over (partition by n.example_id)::float8 as part
        from example_neighbours(k, encoder) n
        group by n.example_id, n.task, n.neighbour_task
    )
    select c.example_id, c.task, e.source_ref, c.neighbour_task, c.alike, c.part
    from counted c
    join examples e on e.id = c.example_id
    where c.neighbour_task <> c.task and c.part >= share
    order by c.part desc, c.example_id;
end
$$;
comment on function loradex.mislabelled_candidates(int, float8, text) is
    'Examples of whose k nearest neighbours at least the given share belongs to one other task.';
revoke execute on function loradex.mislabelled_candidates(int, float8, text) from public;
grant execute on function loradex.mislabelled_candidates(int, float8, text) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/mix_affinities.sql
-- From neighbours to adapters by what was measured: each task that the neighbours voted for votes in turn, for the
-- adapters that answered its rows best.
--   vote     = exp((score + 0.1 if the adapter was trained on the task) / 0.01), normalised over the task's adapters
--   mass     = sum over tasks of the task's probability (mix_neighbours) * its vote for the adapter, normalised
--   weight   = mass renormalised inside the nucleus: the smallest prefix, heaviest first, that reaches top_p
-- A task votes among allowed active adapters that were measured on it; its own adapter counts as 1 until it is. An
-- adapter that was declared to be trained on a task has the head start too, and stands in where the task has no adapter
-- of its own. A task that has none gives its mass to the others. Figures come from some hundred rows: hence the softness
-- of the vote and the head start of the task's own adapter (docs/decisions.md).
-- The fewer the rows, the less a figure says: of a stranger's vote only n / (n + affinity_rows) counts, n being the rows
-- it or the task's own adapter was measured on, whichever are fewer. The rest goes where retrieval alone would send it:
-- to the task's own adapter, and without one to the other tasks.
-- Planned once per session (force_generic_plan), since planning takes longer than running.
-- Locks: none. Raises: nothing.
create or replace function loradex.mix_affinities(requests loradex.route_request[], nearby loradex.neighbour[])
returns table (
    ordinal int, rank int, adapter_id bigint, adapter text, version int, task text, sha256 text, uri text,
    mass float8, weight float8
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return query
    with likely as (
        select m.ordinal, m.task, m.probability from mix_neighbours(requests, nearby) m
    ), asked as materialized (
        select l.ordinal, l.task, l.probability, r.top_p, r.base_model, r.exclude_adapters, r.exclude_tasks, r.job_id
        from unnest(requests) r
        join likely l on l.ordinal = r.ordinal
    ), pair as (
        -- From the task to its adapters: what is read grows with the figures of the tasks that were voted for.
        select q.*, f.adapter_id, f.score, f.n
        from asked q
        cross join lateral (
            select f.adapter_id, f.score, f.n from task_affinities f where f.task = q.task offset 0) f
        union all
        select q.*, h.id, null, null
        from asked q
        join adapters h on h.base_model = q.base_model and h.task = q.task and h.state = 'active'
        where not exists (select from task_affinities f where f.task = q.task and f.adapter_id = h.id)
        union all
        select q.*, h.id, null, null
        -- Few have any, so they are looked through once, and not for each task.
        from (select x.* from adapters x where x.state = 'active' and x.trained_on <> '{}' offset 0) h
        join asked q on q.base_model = h.base_model and q.task = any (h.trained_on) and q.task <> h.task
        where not exists (select from task_affinities f where f.task = q.task and f.adapter_id = h.id)
    ), met as (
        select p.ordinal, p.task, p.probability, a.id as adapter_id, p.top_p, p.score, p.n, a.task = p.task as own,
               p.task = any (a.trained_on) as taught,
               bool_or(a.task = p.task) over (partition by p.ordinal, p.task) as has_own
        from pair p
        join adapters a
            on a.id = p.adapter_id and a.base_model = p.base_model and a.state = 'active'
            and a.name <> all (p.exclude_adapters)
            and a.task <> all (p.exclude_tasks) and not a.trained_on && p.exclude_tasks
            and (a.share = 1 or is_drawn(a, p.job_id, p.exclude_adapters, p.exclude_tasks))
    ), judged as (
        select m.*, m.own or (m.taught and not m.has_own) as home,
               coalesce(m.score, 1) + case when m.own or m.taught then 0.1 else 0 end as judgement
        from met m
        where m.score is not null or m.own or not m.has_own
    ), voted as (
        select j.*, exp((j.judgement - max(j.judgement) over votes) / 0.01) as vote,
               least(j.n, min(j.n) filter (where j.home) over votes) as rows,
               count(*) filter (where j.home) over votes as homes
        from judged j
        window votes as (partition by j.ordinal, j.task)
    ), counted as (
        select v.*, v.vote / sum(v.vote) over (partition by v.ordinal, v.task) as whole,
               case when v.home then 1 else v.rows / (v.rows + (select s.value::float8 from settings s where s.name = 'affinity_rows')) end as counts
        from voted v
    ), shared as (
        select c.*, c.probability * (
                   c.whole * c.counts
                   + case when c.home then sum(c.whole * (1 - c.counts)) over (partition by c.ordinal, c.task) / c.homes
                          else 0 end) as share
        from counted c
    ), massed as (
        select s.ordinal, s.adapter_id, s.top_p,
               sum(s.share) / sum(sum(s.share)) over (partition by s.ordinal) as mass
        from shared s
        group by s.ordinal, s.adapter_id, s.top_p
    ), summed as (
        select m.*, row_number() over ranked as rank, sum(m.mass) over (ranked rows unbounded preceding) as reached
        from massed m
        window ranked as (partition by m.ordinal order by m.mass desc, m.adapter_id)
    )
    select c.ordinal, c.rank::int, a.id, a.name, a.version, a.task, a.sha256::text, a.uri, c.mass,
           c.mass / sum(c.mass) over (partition by c.ordinal)
    from summed c
    join adapters a on a.id = c.adapter_id
    where c.top_p >= 1 or c.reached - c.mass < c.top_p;
end
$$;
comment on function loradex.mix_affinities(loradex.route_request[], loradex.neighbour[]) is
    'Adapters of every request by their measured affinity to the neighbours'' tasks, with weights; internal.';
revoke execute on function loradex.mix_affinities(loradex.route_request[], loradex.neighbour[]) from public;
grant execute on function loradex.mix_affinities(loradex.route_request[], loradex.neighbour[])
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/mix_neighbours.sql
-- From neighbours to the task distribution and its adapters: the only place with this arithmetic.
--   probability  = sum over a task's neighbours of exp(similarity / temperature), normalised over all neighbours
--   nucleus      = among the tasks that may take part, sorted by probability, the smallest prefix whose share of
--                  their mass reaches top_p; never empty if any task may take part
--   weight       = probability renormalised inside the nucleus, 0 outside
-- A task may take part if its request has no base model, or the task has an active adapter for it that is not
-- excluded, by its name or for what it was trained on: what has no adapter gives its mass to the others before the cut.
-- Of several such adapters, one is drawn.
-- Locks: none. Raises: nothing.
create or replace function loradex.mix_neighbours(requests loradex.route_request[], nearby loradex.neighbour[])
returns table (
    ordinal int, rank int, task text, neighbours int, best_similarity float8, probability float8, weight float8,
    in_nucleus boolean, adapter_id bigint, adapter text, version int, sha256 text, uri text
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with vote as (
        -- The best similarity is taken off before exp(), and the temperature bounded, so that nothing over- or
        -- underflows; beside the 2, similarities less than 1e-15 apart are equal.
        select n.ordinal, n.task, n.similarity,
               exp(greatest(((n.similarity + 2) - (max(n.similarity) over (partition by n.ordinal) + 2))
                            / least(greatest(r.temperature, 1e-9), 1e9), -700)) as mass,
               r.top_p, r.base_model, r.exclude_adapters, r.exclude_tasks, r.job_id
        from unnest(nearby) n
        join unnest(requests) r on r.ordinal = n.ordinal
    ), counted as (
        select v.ordinal, v.task, count(*)::int as neighbours, max(v.similarity) as best_similarity,
               sum(v.mass) as mass, v.top_p, v.base_model, v.exclude_adapters, v.exclude_tasks, v.job_id
        from vote v
        group by v.ordinal, v.task, v.top_p, v.base_model, v.exclude_adapters, v.exclude_tasks, v.job_id
    ), eligible as (
        select c.*, a.id as adapter_id, a.name as adapter, a.version, a.sha256::text as sha256, a.uri,
               c.mass / sum(c.mass) over (partition by c.ordinal) as probability,
               c.base_model is null or a.id is not null as may
        from counted c
        left join adapters a
            on a.base_model = c.base_model and a.task = c.task and a.state = 'active'
            and a.name <> all (c.exclude_adapters) and not a.trained_on && c.exclude_tasks
            and (a.share = 1 or is_drawn(a, c.job_id, c.exclude_adapters, c.exclude_tasks))
    ), summed as (
        select e.*,
               row_number() over ranked as rank,
               coalesce(sum(e.mass) filter (where e.may) over (ranked rows unbounded preceding), 0) as reached,
               sum(e.mass) filter (where e.may) over (partition by e.ordinal) as whole
        from eligible e
        window ranked as (partition by e.ordinal order by e.probability desc, e.best_similarity desc, e.task)
    ), cut as (
        select s.*, s.may and (s.top_p >= 1 or (s.reached - s.mass) / s.whole < s.top_p) as inside
        from summed s
    )
    select c.ordinal, c.rank::int, c.task, c.neighbours, c.best_similarity, c.probability,
           case when c.inside then c.mass / sum(c.mass) filter (where c.inside) over (partition by c.ordinal)
                else 0 end,
           c.inside, c.adapter_id, c.adapter, c.version, c.sha256, c.uri
    from cut c;
end
$$;
comment on function loradex.mix_neighbours(loradex.route_request[], loradex.neighbour[]) is
    'Task distribution, nucleus, weights and adapters of every request from its neighbours; internal.';
revoke execute on function loradex.mix_neighbours(loradex.route_request[], loradex.neighbour[]) from public;
grant execute on function loradex.mix_neighbours(loradex.route_request[], loradex.neighbour[])
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/monitor_figures.sql
-- What a monitor shows of the queue, the workers and the chain: numbers of all tenants together and nothing of anybody, so
-- that the login of the API, which sees no rows without a key, can be asked. Reads every waiting job, and what ended
-- without an answer in the last 10 minutes (ended_jobs: by state and code, of which 20 are told and the rest is `other`).
-- Keep it a few seconds.
-- Locks: none. Raises: nothing.
create or replace function loradex.monitor_figures() returns table (figure text, label text, value float8)
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    with queued as materialized (
        select sign(j.priority) as sign, j.api_key_id is not null as keyed, j.base_model, j.encoder, count(*) as jobs,
            min(j.created_at) as oldest
        from jobs j where j.state = 'queued' group by 1, 2, 3, 4
    ), running as materialized (
        select j.base_model, count(*) as jobs, count(*) filter (where j.lease_until <= now()) as expired
        from jobs j where j.state = 'running' group by 1
    ), own (state, code) as (
        -- What Postgres ends by itself: no worker counts these.
        values ('failed', 'too_many_attempts'), ('failed', 'held_too_long'), ('expired', 'job_expired')
    ), ended as (
        select j.state, j.error_code as code, count(*) as jobs
        from jobs j
        where j.state in ('failed', 'cancelled', 'expired') and j.finished_at > now() - interval '10 minutes'
        group by 1, 2
    ), told as (
        select e.state, case when e.place <= 20 then e.code else 'other' end as code, e.jobs
        from (
            select x.*, row_number() over (order by (x.state, x.code) in (select o.state, o.code from own o) desc,
                                           x.jobs desc, x.code, x.state) as place
            from ended x
        ) e
        union all
        select o.state, o.code, 0 from own o
    ), waiting as (
        select c.label, coalesce(sum(q.jobs), 0) as jobs, min(q.oldest) as oldest
        from (values ('low', -1), ('normal', 0), ('high', 1)) c(label, sign)
        left join queued q on q.sign = c.sign
        group by c.label order by c.label
    ), verified as (
        select max(v.verified_at) as at, max(v.position) as position from verifications v
    )
    select 'waiting_jobs', w.label, w.jobs::float8 from waiting w
    union all
    select 'oldest_waiting_seconds', w.label, coalesce(extract(epoch from now() - w.oldest), 0)::float8 from waiting w
    union all
    select 'waiting_jobs_of', c.label, coalesce(sum(q.jobs), 0)::float8
    from (values ('key', true), ('login', false)) c(label, keyed) left join queued q on q.keyed = c.keyed
    group by c.label
    union all
    select 'open_jobs', b.name, coalesce(sum(o.jobs), 0)::float8
    from base_models b
    left join (
        select q.base_model, q.jobs from queued q union all select r.base_model, r.jobs from running r
    ) o on o.base_model = b.name
    group by b.name
    union all
    select 'running_jobs', '', coalesce(sum(r.jobs), 0)::float8 from running r
    union all
    select 'expired_leases', '', coalesce(sum(r.expired), 0)::float8 from running r
    union all
    select 'unserved_jobs', '', coalesce(sum(q.jobs), 0)::float8
    from (select q.base_model, q.encoder, sum(q.jobs) as jobs from queued q group by 1, 2) q
    where not is_served(q.base_model, q.encoder)
    union all
    select 'ended_jobs', t.state || ' ' || t.code, sum(t.jobs)::float8 from told t group by t.state, t.code
    union all
    select 'max_waiting_jobs', '', s.value::float8 from settings s where s.name = 'max_waiting_jobs'
    union all
    select 'living_workers', b.name, count(l.name)::float8
    from base_models b left join living_workers() l on l.base_model = b.name group by b.name
    union all
    select 'chain_position', '', coalesce((select h.position from chain_head() h), 0)::float8
    union all
    select 'chain_verified_seconds', '', extract(epoch from now() - v.at)::float8 from verified v where v.at is not null
    union all
    select 'chain_verified_position', '', v.position::float8 from verified v where v.at is not null
$$;
comment on function loradex.monitor_figures() is
    'Numbers about the queue, the workers and the chain, of all tenants together, for monitors.';
revoke execute on function loradex.monitor_figures() from public;
grant execute on function loradex.monitor_figures() to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/nearest_examples.sql
-- The k examples nearest to a query, by cosine similarity, nearest first.
-- Locks: none. Raises: LX001 bad k; LX002 unknown encoder or excluded task; LX005 bad vector.
create or replace function loradex.nearest_examples(
    query public.vector,
    k int default 32,
    encoder text default 'all-MiniLM-L6-v2',
    exclude_tasks text[] default '{}'
) returns table (rank int, example_id bigint, task text, similarity float8)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    request route_request := row(1, query, k, 1, 1, exclude_tasks, null, '{}', null);
    nearby neighbour[];
begin
    perform check_routing(k, 1e-300, 1, exclude_tasks);
    perform check_vector(query, encoder);
    nearby := search_examples(array[request], encoder);
    return query
    select n.rank, n.example_id, n.task, n.similarity
    from unnest(nearby) n
    order by n.rank;
end
$$;
comment on function loradex.nearest_examples(public.vector, int, text, text[]) is
    'The k examples nearest to the query vector by cosine similarity, nearest first.';
revoke execute on function loradex.nearest_examples(public.vector, int, text, text[]) from public;
grant execute on function loradex.nearest_examples(public.vector, int, text, text[])
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/next_turns.sql
-- The turn of each job of a call, in order: see jobs.turn. Among the jobs of its priority, base model and encoder, which are
-- served one after the other, a job stands behind what its owner has there, and no further ahead than those who wait there.
-- Jobs that no worker takes, or that have another priority, are no measure of how far the others are.
-- Locks: none. Raises: nothing; check_jobs has read the document before.
create or replace function loradex.next_turns(jobs json, owner bigint, defaults jsonb) returns bigint[]
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    with asked as (
        select e.ordinal,
               coalesce(e.job ->> 'priority', defaults ->> 'priority')::numeric::smallint as priority,
               coalesce(e.job ->> 'base_model', defaults ->> 'base_model') as base_model,
               coalesce(e.job ->> 'encoder', defaults ->> 'encoder') as encoder
        from json_array_elements(next_turns.jobs) with ordinality e(job, ordinal)
    ), begun as materialized (
        select c.priority, c.base_model, c.encoder, greatest(
            -- In the order of jobs_turn_index, or where one owner has most of the queue another index would be taken, in
            -- which the next owner's jobs are looked for in vain.
            coalesce((select l.turn
                      from (select j.* from loradex.jobs j
                            where j.state = 'queued' and (j.owner_id, j.base_model, j.encoder, j.priority)
                                  <= (next_turns.owner, c.base_model, c.encoder, c.priority)
                            order by j.owner_id desc, j.base_model desc, j.encoder desc, j.priority desc, j.turn desc
                            limit 1) l
                      where (l.owner_id, l.base_model, l.encoder, l.priority)
                            = (next_turns.owner, c.base_model, c.encoder, c.priority)), 0),
            coalesce((select j.turn - 1 from loradex.jobs j
                      where j.state = 'queued' and j.priority = c.priority and j.base_model = c.base_model
                        and j.encoder = c.encoder
                      order by j.turn, j.queue_position limit 1), 0)) as last
        from (select distinct priority, base_model, encoder from asked) c
    )
    select array_agg(b.last + a.nth order by a.ordinal)
    from (select *, row_number() over (partition by priority, base_model, encoder order by ordinal) as nth from asked) a
    join begun b using (priority, base_model, encoder)
$$;
comment on function loradex.next_turns(json, bigint, jsonb) is
    'The turn of each job of a call, behind what its owner has waiting; internal.';
revoke execute on function loradex.next_turns(json, bigint, jsonb) from public;

-- file: functions/note_verification.sql
-- Notes that this login has just found the chain intact up to a position, so that a monitor can say how long ago that was.
-- A note for people who watch, and no evidence: whoever may call it may lie. One row a login.
-- Locks: this login's own row. Raises: LX001 no position, or one behind the head.
create or replace function loradex.note_verification(up_to bigint) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    if note_verification.up_to is null or note_verification.up_to < 0
       or note_verification.up_to > coalesce((select h.position from chain_head() h), 0) then
        raise exception using errcode = 'LX001', message = format(
            'the chain does not reach position %s', coalesce(note_verification.up_to::text, 'null'));
    end if;
    insert into verifications (login, position) values (session_user, note_verification.up_to)
    on conflict (login) do update set verified_at = now(), position = excluded.position;
end
$$;
comment on function loradex.note_verification(bigint) is
    'Notes that this login found the chain intact up to a position, just now.';
revoke execute on function loradex.note_verification(bigint) from public;
grant execute on function loradex.note_verification(bigint) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/notify_job.sql
-- Tells whoever listens that a job has ended. Nothing is told while the queue of notifications is half full, which any
-- session can fill: then waiters find out when they look again, and no answer fails for it.
-- Locks: none. Raises: nothing.
create or replace function loradex.notify_job(job_id uuid, channel text default 'loradex_jobs') returns void
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify(channel, job_id::text);
    end if;
end
$$;
comment on function loradex.notify_job(uuid, text) is
    'Notifies a channel that a job has ended, unless the queue of notifications is half full; internal.';
revoke execute on function loradex.notify_job(uuid, text) from public;

-- file: functions/notify_workers.sql
-- Tells workers that listen on loradex_work, at the commit, that jobs wait: once, however many a transaction adds. Nothing
-- is told while the queue of notifications is half full, which any session can fill: then Redis or a sweep finds them.
-- Locks: none. Raises: nothing.
create or replace function loradex.notify_workers() returns void
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('loradex_work', '');
    end if;
end
$$;
comment on function loradex.notify_workers() is
    'Notifies loradex_work that jobs wait, unless the queue of notifications is half full; internal.';
revoke execute on function loradex.notify_workers() from public;

-- file: functions/own_jobs.sql
-- The jobs that the login of this session handed in, newest first: a page of max_jobs, of one state, with these pairs in
-- their metadata. `after_job` is the last job of the page before. Every login sees its own, the administrator too; with an
-- API key those of the key's owner are seen. A page is read along the index of the owner's jobs, for which each call is
-- planned for its own arguments.
-- Locks: none. Raises: LX001 unknown state, metadata that is not an object of texts, max_jobs out of range; LX003
-- after_job is not a job of this login.
create or replace function loradex.own_jobs(
    only_state text default null, only_metadata jsonb default null, max_jobs int default 100, after_job uuid default null
) returns table (
    job_id uuid, state text, kind text, prompt text, metadata jsonb, priority smallint, created_at timestamptz,
    started_at timestamptz, finished_at timestamptz, error_code text, error_message text
)
language plpgsql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    states constant text[] := '{queued,running,done,failed,cancelled,expired}';
    asking constant bigint := current_owner();
    last_at timestamptz;
begin
    if not coalesce(only_state = any (states), true) then
        raise exception using errcode = 'LX001', message = format(
            'not a state: %s; a job is one of %s', shown(only_state), array_to_string(states, ', '));
    end if;
    if coalesce(max_jobs, 0) not between 1 and 1000 then
        raise exception using errcode = 'LX001', message = 'max_jobs must be from 1 to 1000';
    end if;
    perform check_settings(json_build_array(json_build_object('metadata', only_metadata)));
    if after_job is not null then
        select j.created_at into last_at from jobs j where j.id = after_job and j.owner_id = asking;
        if not found then
            raise exception using errcode = 'LX003', message = format(
                'no job %s to go on after, or it is another user''s; begin anew without it', after_job);
        end if;
    end if;
    return query
    select j.id, j.state, j.kind, j.prompt, coalesce(j.metadata, '{}'), j.priority, j.created_at, j.started_at,
           j.finished_at, j.error_code, j.error_message
    from jobs j
    where j.owner_id = asking
      and (only_state is null or j.state = only_state)
      and (only_metadata is null or j.metadata @> only_metadata)
      and (after_job is null or (j.created_at, j.id) < (last_at, after_job))
    order by j.created_at desc, j.id desc
    limit max_jobs;
end
$$;
comment on function loradex.own_jobs(text, jsonb, int, uuid) is
    'A page of the jobs this login handed in, newest first, of one state and with these pairs in their metadata.';
revoke execute on function loradex.own_jobs(text, jsonb, int, uuid) from public;
grant execute on function loradex.own_jobs(text, jsonb, int, uuid) to loradex_client, loradex_admin;

-- file: functions/rate_answer.sql
-- Writes down how good an answer is to whoever asked for it: 1 or -1. Rating it again adds a row, and the last one counts.
-- An owner rates its own answers alone.
-- Locks: none. Raises: LX001 another rating, or too many of one answer; LX004 no such answer, or another user's; LX011 no
-- seal of this transaction; 42501 the key may not ask.
create or replace function loradex.rate_answer(answer_id uuid, rating int) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    rater constant bigint := current_owner();
    rated record;
    made bigint;
begin
    perform check_scope('ask');
    if rating is null or rate_answer.rating not in (-1, 1) then
        raise exception using errcode = 'LX001', message = format(
            'rating is %s; give 1 for good or -1 for bad', coalesce(rate_answer.rating::text, 'null'));
    end if;
    select a.id, a.chain_hash, a.owner_id, a.owner into rated
    from answers a where a.id = rate_answer.answer_id and a.owner_id = rater;
    if not found then
        raise exception using errcode = 'LX004', message = format(
            'no answer %s to rate, or it is another user''s', rate_answer.answer_id);
    end if;
    if (select count(*) from feedback f where f.answer_id = rated.id) >= 100 then
        raise exception using errcode = 'LX001', message = format(
            'answer %s was rated 100 times, which is the most', rated.id);
    end if;
    insert into feedback (answer_id, chain_hash, owner_id, owner, login, rating)
    values (rated.id, rated.chain_hash, rated.owner_id, rated.owner, session_user, rate_answer.rating)
    returning id into made;
    return made;
end
$$;
comment on function loradex.rate_answer(uuid, int) is
    'Writes down how good an answer is to whoever asked for it: 1 or -1; returns the row''s id.';
revoke execute on function loradex.rate_answer(uuid, int) from public;
grant execute on function loradex.rate_answer(uuid, int) to loradex_client, loradex_admin;

-- file: functions/recipe_hash.sql
-- The hash that names a mixture: SHA-256, in hex, over one line per fact: merge, calibrated, density, dtype, and for each
-- component, in order, its content hash and weight. Numbers stand as the 16 hex digits of their IEEE 754 double.
-- `components` is an array of objects with sha256 and weight, as in the mixture of route_jobs.
-- Locks: none. Raises: nothing.
create or replace function loradex.recipe_hash(
    merge text, calibrated boolean, density float8, dtype text, components jsonb
) returns text
language sql immutable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select encode(sha256(convert_to(
        format(E'merge %s\ncalibrated %s\ndensity %s\ndtype %s\n', recipe_hash.merge, calibrated::text,
            encode(float8send(density), 'hex'), dtype)
        || coalesce(string_agg(
            format(E'%s %s\n', c.part ->> 'sha256', encode(float8send((c.part ->> 'weight')::float8), 'hex')), ''
            order by c.place), ''), 'UTF8')), 'hex')
    from jsonb_array_elements(components) with ordinality c(part, place)
$$;
comment on function loradex.recipe_hash(text, boolean, float8, text, jsonb) is
    'SHA-256 (hex) that names a mixture: of its merge, density, dtype, and its adapters with their weights.';
revoke execute on function loradex.recipe_hash(text, boolean, float8, text, jsonb) from public;
grant execute on function loradex.recipe_hash(text, boolean, float8, text, jsonb)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/record_answer.sql
-- Writes an answer with everything that led to it, and ends its job: one transaction, once per job. The routing is the one
-- that route_jobs kept, the settings are the job's; of the rest only what can be true is taken (check_answer).
-- Locks: the job's row and its routing; then, until the transaction ends, the table chain_lock, so that answers are
-- chained one after the other. Call it in a READ COMMITTED transaction of its own, so that the lock is short.
-- Raises: LX001 incomplete or impossible answer, or another isolation; LX003 unknown job; LX006 the attempt is over, or
-- the claim is another's; LX010 its routing is gone, since Postgres crashed: release the job.
create or replace function loradex.record_answer(
    job_id uuid, attempt int, answer jsonb, token text default null
) returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    job jobs := fence_job(job_id, attempt, token);
    decided routings;
    fresh answers;
    -- The head of the chain.
    head record;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = 'LX001', message =
            'record_answer reads the newest link of the chain; call it in a READ COMMITTED transaction';
    end if;
    perform check_call_size(pg_column_size(record_answer.answer));
    delete from routings r where r.job_id = job.id and r.attempt = job.attempt returning r.* into decided;
    if not found then
        raise exception using errcode = 'LX010', message = format(
            'job %s has no routing for attempt %s; release it, and it is routed again', job.id, job.attempt);
    end if;
    perform check_answer(job, decided.routing, record_answer.answer);

    -- Of what the worker says, its own words and measurements; the rest is the job's, the routing's and the chain's.
    fresh := jsonb_populate_record(null::answers, (
        select jsonb_object_agg(s.key, s.value) from jsonb_each(record_answer.answer) s
        where s.key = any (array['text', 'choice', 'scores', 'token_ids', 'logprobs', 'prompt_tokens', 'output_tokens',
                                 'base_model_revision', 'timings', 'versions'])));
    fresh.job_id := job.id;
    fresh.owner_id := job.owner_id;
    fresh.owner := job.owner;
    fresh.attempt := job.attempt;
    fresh.worker := job.worker;
    fresh.prompt := job.prompt;
    fresh.messages := job.messages;
    fresh.choices := job.choices;
    fresh.stop := (select array_agg(s.one order by s.place)
                   from jsonb_array_elements_text(job.settings -> 'stop') with ordinality s(one, place));
    fresh.held_to := (select jsonb_object_agg(s.key, s.value) from jsonb_each(job.settings) s
                      where s.key in ('json_schema', 'regex'));
    fresh.base_model := job.base_model;
    fresh.generation := (record_answer.answer -> 'generation') - array['draws', 'prior']
        || (job.settings - array['stop', 'json_schema', 'regex'])
        || jsonb_build_object('kind', job.kind,
                              'seed', coalesce(job.settings -> 'seed', record_answer.answer #> '{generation,seed}'))
        || case when decided.routing -> 'draws' <> '[]' then jsonb_build_object('draws', decided.routing -> 'draws')
                else '{}' end
        || case when decided.routing ? 'prior' then jsonb_build_object('prior', decided.routing -> 'prior') else '{}' end;

    fresh.query := decided.query;
    select r.encoder, r.encoder_revision, r.k, r.top_p, r.temperature, r.exclude_tasks, r.exclude_adapters,
           r.examples_hash
    into fresh.encoder, fresh.encoder_revision, fresh.k, fresh.top_p, fresh.temperature, fresh.exclude_tasks,
         fresh.exclude_adapters, fresh.examples_hash
    from jsonb_populate_record(null::answers, decided.routing) r;
    fresh.routing_milliseconds := (decided.routing ->> 'milliseconds')::float8;
    select coalesce(array_agg(n.example_id), '{}'), coalesce(array_agg(n.source_ref), '{}'),
           coalesce(array_agg(n.task), '{}'), coalesce(array_agg(n.similarity), '{}')
    into fresh.example_ids, fresh.example_refs, fresh.example_tasks, fresh.similarities
    from (select * from jsonb_populate_recordset(null::retrieved_examples, decided.routing -> 'neighbours')
          order by rank) n;
    select coalesce(array_agg(t.task), '{}'), coalesce(array_agg(t.neighbours), '{}'),
           coalesce(array_agg(t.best_similarity), '{}'), coalesce(array_agg(t.probability), '{}'),
           coalesce(array_agg(t.weight), '{}'), coalesce(array_agg(t.in_nucleus), '{}')
    into fresh.tasks, fresh.task_neighbours, fresh.task_similarities, fresh.probabilities, fresh.task_weights,
         fresh.in_nucleus
    from (select * from jsonb_populate_recordset(null::retrieved_tasks, decided.routing -> 'distribution')
          order by rank) t;

    fresh.method := job.method;
    fresh.merge := decided.routing ->> 'merge';
    fresh.calibrated := (decided.routing ->> 'calibrated')::boolean;
    fresh.density := (job.settings ->> 'density')::float8;
    select decode(m.recipe_hash, 'hex'), m.dtype, m.update_norm, m.sign_conflict, m.milliseconds
    into fresh.recipe_hash, fresh.merge_dtype, fresh.update_norm, fresh.sign_conflict, fresh.merge_milliseconds
    from jsonb_populate_record(null::merge_results, record_answer.answer -> 'merge') m;
    select coalesce(array_agg(c.adapter_id), '{}'), coalesce(array_agg(c.adapter), '{}'),
           coalesce(array_agg(c.version), '{}'), coalesce(array_agg(c.task), '{}'),
           coalesce(array_agg(decode(c.sha256, 'hex')), '{}'), coalesce(array_agg(c.uri), '{}'),
           coalesce(array_agg(c.weight), '{}')
    into fresh.adapter_ids, fresh.adapters, fresh.adapter_versions, fresh.adapter_tasks, fresh.adapter_hashes,
         fresh.adapter_uris, fresh.weights
    from (select * from jsonb_populate_recordset(null::merge_components, decided.routing -> 'mixture')
          order by rank) c;
    fresh.adapter_norms := array(
        select n.norm::float8 from jsonb_array_elements(record_answer.answer #> '{merge,component_norms}')
            with ordinality n(norm, place) order by n.place);
    fresh.salt := uuid_send(gen_random_uuid());

    lock table loradex.chain_lock in exclusive mode;
    select h.position, h.chain_hash into head from chain_head() h;
    fresh.position := coalesce(head.position, 0) + 1;
    fresh.previous_hash := coalesce(head.chain_hash, decode(repeat('00', 32), 'hex'));
    fresh.created_at := clock_timestamp();
    fresh.id := uuidv7();
    fresh.chain_hash := answer_hash(fresh);
    perform make_partition(uuid_extract_timestamp(fresh.id));
    insert into answers select fresh.*;

    update jobs j set state = 'done', lease_until = null, finished_at = fresh.created_at, answer_id = fresh.id
    where j.id = job.id;
    perform notify_job(job.id);
    return fresh.id;
exception
    when data_exception or not_null_violation or check_violation or unique_violation then
        raise exception using errcode = 'LX001', message = format(
            'the answer of job %s cannot be recorded: %s; give every field of the answer', job_id, sqlerrm);
end
$$;
comment on function loradex.record_answer(uuid, int, jsonb, text) is
    'Writes an answer and all its provenance, chains it, ends its job and notifies loradex_jobs; returns its id.';
revoke execute on function loradex.record_answer(uuid, int, jsonb, text) from public;
grant execute on function loradex.record_answer(uuid, int, jsonb, text) to loradex_worker;

-- file: functions/record_embeddings.sql
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

-- file: functions/record_replay.sql
-- Leaves how an answer and its replay compare, or why it could not be replayed, for whoever asked. Nothing happens if the
-- request is gone or is another worker's.
-- Locks: the row. Raises: LX001 neither a comparison nor an error, or both; an error without a message; more than 20,000
-- characters.
create or replace function loradex.record_replay(
    replay_id uuid, worker text, told jsonb, error_code text default null, error_message text default null
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    if num_nonnulls(record_replay.told, record_replay.error_code) <> 1
       or (record_replay.error_code is null) <> (record_replay.error_message is null) then
        raise exception using errcode = 'LX001', message =
            'give a comparison, or a code and a message that say why there is none';
    end if;
    if length(record_replay.told::text) > 20000 then
        raise exception using errcode = 'LX001', message = 'a comparison has at most 20000 characters; shorten it';
    end if;
    update replays r
    set told = record_replay.told, error_code = left(record_replay.error_code, 100),
        error_message = left(record_replay.error_message, 1000)
    where r.id = replay_id and r.worker = record_replay.worker and num_nonnulls(r.told, r.error_code) = 0;
end
$$;
comment on function loradex.record_replay(uuid, text, jsonb, text, text) is
    'Leaves how an answer and its replay compare, or why it could not be replayed, for whoever asked.';
revoke execute on function loradex.record_replay(uuid, text, jsonb, text, text) from public;
grant execute on function loradex.record_replay(uuid, text, jsonb, text, text) to loradex_worker;

-- file: functions/refuse_change.sql
-- Refuses UPDATE, DELETE and TRUNCATE on the tables of evidence (also of adapters' content), whoever asks.
-- Locks: none of its own. Raises: LX009.
create or replace function loradex.refuse_change() returns trigger
language plpgsql volatile
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    raise exception using
        errcode = 'LX009',
        message = format('%s on loradex.%s is refused: its rows are evidence; write a new row instead',
                         lower(tg_op), tg_table_name);
end
$$;
comment on function loradex.refuse_change() is
    'Trigger: refuses UPDATE, DELETE and TRUNCATE on tables of evidence with LX009.';
revoke execute on function loradex.refuse_change() from public;

create or replace trigger append_only before delete or truncate on loradex.answers
    for each statement execute function loradex.refuse_change();
create or replace trigger append_only before update or delete or truncate on loradex.erasures
    for each statement execute function loradex.refuse_change();
create or replace trigger append_only before update or delete or truncate on loradex.archives
    for each statement execute function loradex.refuse_change();
create or replace trigger append_only before update or delete or truncate on loradex.evaluations
    for each statement execute function loradex.refuse_change();
create or replace trigger append_only before update or delete or truncate on loradex.feedback
    for each statement execute function loradex.refuse_change();
-- An adapter is its content: only state and retired_at may change, and no row goes away.
create or replace trigger append_only before delete or truncate on loradex.adapters
    for each statement execute function loradex.refuse_change();
create or replace trigger content_is_fixed
    before update of id, name, version, task, base_model, sha256, rank, alpha, target_modules, dtype, parameters,
        update_norm, card, registered_at on loradex.adapters
    for each statement execute function loradex.refuse_change();

-- file: functions/refuse_rewriting.sql
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

-- file: functions/register_adapter.sql
-- Registers an adapter. As active it takes the share it is given: 1 retires those that were active for its task and
-- base model, less leaves them the rest. As staged it answers nothing until it is activated. The same content again
-- returns the older row and changes nothing but its place, where another is named: the content hash says that the files
-- are the same. Without a version it takes the next of its name. Where a root is named, a living worker of the base model
-- must have announced it, if any lives: else nobody could read the files, and those that are known stay where they are.
-- Locks: registrations of one task wait for each other. Raises: LX001 bad value, the version is taken, or another task
-- takes the name at the same moment; LX002 unknown task or base model. LX001 too where no living worker reads the root.
create or replace function loradex.register_adapter(
    name text,
    task text,
    base_model text,
    sha256 text,
    uri text,
    rank int,
    alpha float8,
    target_modules text[],
    dtype text,
    parameters bigint,
    update_norm float8,
    card jsonb default '{}',
    version int default null,
    state text default 'active',
    share float8 default 1,
    trained_on text[] default '{}',
    root text default null
) returns table (adapter_id bigint, adapter_version int, created boolean)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    known adapters;
    chosen int;
    stranger text;
begin
    if not exists (select from tasks t where t.name = register_adapter.task) then
        raise exception using errcode = 'LX002', message = format(
            'no task %s; known are: %s', shown(task),
            coalesce((select string_agg(t.name, ', ' order by t.name) from tasks t), 'none yet'));
    end if;
    if not exists (select from base_models b where b.name = register_adapter.base_model) then
        raise exception using errcode = 'LX002', message = format(
            'no base model %s; known are: %s', shown(base_model),
            coalesce((select string_agg(b.name, ', ' order by b.name) from base_models b), 'none yet'));
    end if;
    if coalesce(name, '') !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$' then
        raise exception using errcode = 'LX001', message =
            'an adapter''s name is letters, digits, . _ or -, and begins with a letter or digit';
    end if;
    if coalesce(sha256, '') !~ '^[0-9a-f]{64}$' then
        raise exception using errcode = 'LX001', message = 'sha256 must be 64 small hexadecimal digits';
    end if;
    if coalesce(uri, '') = '' or length(uri) > 4096 or length(dtype) > 20 or pg_column_size(card) > 10000000
       or cardinality(target_modules) > 10000 or pg_column_size(target_modules) > 1000000 or coalesce(rank, 0) < 1 or coalesce(parameters, 0) < 1 or coalesce(dtype, '') = ''
       or coalesce(cardinality(target_modules), 0) = 0 or coalesce(jsonb_typeof(card), '') <> 'object'
       or coalesce(version, 1) < 1
       or (alpha > 0 and alpha < 'infinity' and update_norm >= 0 and update_norm < 'infinity') is not true then
        raise exception using errcode = 'LX001', message =
            'an adapter needs a uri, a dtype, target modules, a card, rank, parameters and version of 1 or more, '
            'a finite alpha above 0 and a finite update_norm';
    end if;

    if coalesce(state, '') not in ('active', 'staged') or (state = 'staged' and share <> 1) then
        raise exception using errcode = 'LX001', message =
            'an adapter is registered as active or staged; a staged one gets its share when it is activated';
    end if;
    if trained_on is null then
        raise exception using errcode = 'LX001', message = 'trained_on must be an array; give ''{}'' for its own task alone';
    end if;
    perform check_names('trained_on', trained_on);
    select given.name into stranger from unnest(trained_on) given(name)
    where not exists (select from tasks t where t.name = given.name) limit 1;
    if found then
        raise exception using errcode = 'LX002', message = format(
            'trained_on names no task %s; known are those of loradex.tasks', shown(stranger));
    end if;

    perform from tasks t where t.name = register_adapter.task for no key update;
    select a.* into known from adapters a
    where a.base_model = register_adapter.base_model and a.task = register_adapter.task
      and a.sha256 = register_adapter.sha256;
    if found and known.uri = register_adapter.uri then
        return query select known.id, known.version, false;
        return;
    end if;
    if known.id is null and exists (
        select from adapters a where a.name = register_adapter.name
        and (a.task, a.base_model) <> (register_adapter.task, register_adapter.base_model)) then
        raise exception using errcode = 'LX001', message = format(
            'adapter %s belongs to another task or base model; choose another name', name);
    end if;
    -- Where nobody reads, the files that are known stay where they are looked for.
    if root is not null
       and not exists (select from living_workers() w
                       where w.base_model = register_adapter.base_model and root = any (w.adapter_roots))
       and exists (select from living_workers() w where w.base_model = register_adapter.base_model) then
        if known.id is not null then
            return query select known.id, known.version, false;
            return;
        end if;
        raise exception using errcode = 'LX001', message = format(
            'no living worker reads adapters below %s: put it below one of %s, or start the workers with '
            'LORADEX_ADAPTER_ROOTS=%s (`loradex up` does) and register it again', shown(root),
            (select string_agg(distinct shown(r.root), ', ') from living_workers() w
             cross join unnest(w.adapter_roots) r(root) where w.base_model = register_adapter.base_model), root);
    end if;
    if known.id is not null then
        update adapters a set uri = register_adapter.uri where a.id = known.id;
        return query select known.id, known.version, false;
        return;
    end if;
    chosen := coalesce(version, (select coalesce(max(a.version), 0) + 1 from adapters a
                                 where a.name = register_adapter.name));
    if exists (select from adapters a where a.name = register_adapter.name and a.version = chosen) then
        raise exception using errcode = 'LX001', message = format(
            'adapter %s has a version %s already, with other content; leave the version out', name, chosen);
    end if;
    begin
        insert into adapters as a (name, version, task, base_model, sha256, uri, rank, alpha, target_modules, dtype,
                                   parameters, update_norm, card, trained_on)
        values (register_adapter.name, chosen, register_adapter.task, register_adapter.base_model,
                register_adapter.sha256, register_adapter.uri, register_adapter.rank, register_adapter.alpha,
                register_adapter.target_modules, register_adapter.dtype, register_adapter.parameters,
                register_adapter.update_norm, register_adapter.card,
                array_remove(register_adapter.trained_on, register_adapter.task))
        returning a.* into known;
    exception when unique_violation then
        -- Its transaction ended after this one had looked.
        raise exception using errcode = 'LX001', message = format(
            'adapter %s was registered for another task or base model at the same moment; choose another name', name);
    end;
    if register_adapter.state = 'active' then
        perform activate_adapter(known.id, register_adapter.share);
    end if;
    return query select known.id, known.version, true;
end
$$;
comment on function loradex.register_adapter(
    text, text, text, text, text, int, float8, text[], text, bigint, float8, jsonb, int, text, float8, text[], text) is
    'Registers an adapter, as active with its share of the task or staged; the same content again only changes its place.';
revoke execute on function loradex.register_adapter(
    text, text, text, text, text, int, float8, text[], text, bigint, float8, jsonb, int, text, float8, text[], text) from public;
grant execute on function loradex.register_adapter(
    text, text, text, text, text, int, float8, text[], text, bigint, float8, jsonb, int, text, float8, text[], text) to loradex_admin;

-- file: functions/register_affinity.sql
-- Keeps how well an adapter answers a task, measured on rows that no adapter was trained on. Measuring again
-- replaces the figure; the adapter is told by its content, so a new version starts without one.
-- Locks: the pair's row. Raises: LX001 score outside 0 to 1, or no rows; LX002 unknown task or adapter.
create or replace function loradex.register_affinity(
    task text, base_model text, sha256 text, score float8, n int
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    -- NaN sorts above every number in Postgres, so it is outside too.
    if score is null or score not between 0 and 1 or coalesce(n, 0) < 1 then
        raise exception using errcode = 'LX001', message = format(
            'an affinity is a score from 0 to 1 over at least one row, not %s over %s',
            coalesce(score::text, 'null'), coalesce(n::text, 'null'));
    end if;
    if not exists (select from tasks t where t.name = register_affinity.task) then
        raise exception using errcode = 'LX002', message = format(
            'no task %s; known are those of loradex.tasks', shown(task));
    end if;
    insert into task_affinities (task, adapter_id, score, n)
    select register_affinity.task, a.id, register_affinity.score, register_affinity.n
    from adapters a
    where a.base_model = register_affinity.base_model and a.sha256 = register_affinity.sha256
    on conflict on constraint task_affinities_pkey do update
    set score = excluded.score, n = excluded.n, measured_at = excluded.measured_at;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no adapter with content hash %s for base model %s; register it first',
            shown(sha256), shown(base_model));
    end if;
end
$$;
comment on function loradex.register_affinity(text, text, text, float8, int) is
    'Keeps how well an adapter answers a task: the score on rows it was not trained on.';
revoke execute on function loradex.register_affinity(text, text, text, float8, int) from public;
grant execute on function loradex.register_affinity(text, text, text, float8, int) to loradex_admin;

-- file: functions/register_base_model.sql
-- Makes a base model known. Registering it again changes nothing, but that a retired one is back in service.
-- Locks: none. Raises: LX001 bad value, or known with other facts.
create or replace function loradex.register_base_model(
    name text, revision text, context_length int, frame text default E'{prompt}\nAnswer:'
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    known base_models;
begin
    if coalesce(name, '') !~ '^[^[:cntrl:]]{1,200}$' or coalesce(revision, '') = '' or length(revision) > 200
       or coalesce(context_length, 0) < 1 or octet_length(frame) > 100000
       or coalesce(position('{prompt}' in frame), 0) = 0 then
        raise exception using errcode = 'LX001', message =
            'a base model needs a name and a revision of at most 200 characters, a context length above 0 and a frame of '
            'at most 100,000 bytes that holds {prompt}';
    end if;
    insert into base_models (name, revision, context_length, frame)
    values (register_base_model.name, register_base_model.revision,
        register_base_model.context_length, register_base_model.frame)
    on conflict do nothing;
    select b.* into known from base_models b where b.name = register_base_model.name;
    if (known.revision, known.context_length, known.frame) <> (revision, context_length, frame) then
        raise exception using errcode = 'LX001', message = format(
            'base model %s is known at revision %s, context length %s, frame %s; give another revision another name',
            name, known.revision, known.context_length, to_json(known.frame));
    end if;
    update base_models m set retired_at = null where m.name = register_base_model.name and m.retired_at is not null;
end
$$;
comment on function loradex.register_base_model(text, text, int, text) is
    'Makes a base model known; registering it again changes nothing, or brings a retired one back.';
revoke execute on function loradex.register_base_model(text, text, int, text) from public;
grant execute on function loradex.register_base_model(text, text, int, text) to loradex_admin;

-- file: functions/register_encoder.sql
-- Makes an encoder known, with its index: HNSW over cosine distance, partial (its vectors only), over an expression
-- (its dimensions). Registering it again changes nothing, but that a retired one is back in service.
-- Locks: the first time, encoders against other registrations, and example_embeddings against writes while the index
-- is built. Raises: LX001 bad name or
-- dimensions, or known with others; LX005 vectors of other dimensions are stored.
create or replace function loradex.register_encoder(name text, revision text, dimensions int) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    known encoders;
begin
    if coalesce(name, '') !~ '^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$' or coalesce(revision, '') = ''
       or length(revision) > 200 then
        raise exception using errcode = 'LX001', message =
            'an encoder needs a name (letters, digits, . _ / -) and a revision';
    end if;
    if dimensions is null or dimensions not between 1 and 4000 then
        raise exception using errcode = 'LX001', message = format(
            'encoder %s has %s dimensions; an index takes 1 to 4000', name, coalesce(dimensions::text, 'no'));
    end if;
    insert into encoders values (register_encoder.name, register_encoder.revision, register_encoder.dimensions)
    on conflict do nothing;
    select e.* into known from encoders e where e.name = register_encoder.name;
    if (known.revision, known.dimensions) <> (revision, dimensions) then
        raise exception using errcode = 'LX001', message = format(
            'encoder %s is known at revision %s with %s dimensions; give another revision another name',
            name, known.revision, known.dimensions);
    end if;
    update encoders m set retired_at = null where m.name = register_encoder.name and m.retired_at is not null;
    perform build_encoder_index(name);
end
$$;
comment on function loradex.register_encoder(text, text, int) is
    'Makes an encoder and its HNSW index known; registering it again changes nothing, or brings a retired one back.';
revoke execute on function loradex.register_encoder(text, text, int) from public;
grant execute on function loradex.register_encoder(text, text, int) to loradex_admin;

-- file: functions/register_task.sql
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

-- file: functions/release_jobs.sql
-- Gives running jobs of this worker back to the queue, as a worker does when it is told to stop. The attempt number
-- stays, so that the fence holds, but the attempt does not count against the job. The time it was held does: a job that
-- workers have held for max_held_seconds altogether ends as failed. With ring, workers that have room take them at once;
-- without, at their next look: for what is refused to any worker, and would go round and round.
-- Locks: the jobs' rows. Raises: LX001 a token that is too short; jobs that are not this worker's are left alone.
create or replace function loradex.release_jobs(
    worker text, job_ids uuid[], token text default null, ring boolean default true
) returns int
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    mine bytea := claim_hash(token);
    max_held int := (select s.value from settings s where s.name = 'max_held_seconds');
    job jobs;
    released int := 0;
begin
    for job in
        update jobs j
        set state = 'queued', lease_until = null, worker = null, started_at = null, releases = j.releases + 1,
            held_seconds = held_seconds(j, now())
        where j.id = any (job_ids) and j.state = 'running' and j.worker = release_jobs.worker and j.claim_hash = mine
        returning j.*
    loop
        released := released + 1;
        if job.held_seconds >= max_held then
            perform give_up_job(job, 'held_too_long', worker, job.held_seconds, now());
        end if;
    end loop;
    if ring and released > 0 then
        perform notify_workers();
    end if;
    return released;
end
$$;
comment on function loradex.release_jobs(text, uuid[], text, boolean) is
    'Gives running jobs of this worker back to the queue; returns how many.';
revoke execute on function loradex.release_jobs(text, uuid[], text, boolean) from public;
grant execute on function loradex.release_jobs(text, uuid[], text, boolean) to loradex_worker;

-- file: functions/release_replay.sql
-- Gives a replay back that this worker took and does not go on with, since it ends: another may take it at once, and it
-- does not count as lost. Nothing happens if the request is gone, is over or is another worker's.
-- Locks: the row. Raises: nothing.
create or replace function loradex.release_replay(replay_id uuid, worker text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    update replays r set worker = null, claims = r.claims - 1, claimed_at = null
    where r.id = replay_id and r.worker = release_replay.worker and num_nonnulls(r.told, r.error_code) = 0;
    if found then
        perform notify_workers();
    end if;
end
$$;
comment on function loradex.release_replay(uuid, text) is
    'Gives a replay back that its worker does not go on with; another may take it at once.';
revoke execute on function loradex.release_replay(uuid, text) from public;
grant execute on function loradex.release_replay(uuid, text) to loradex_worker;

-- file: functions/reroute.sql
-- What task_distribution would have said for the stored query of an answer under other settings; null keeps the
-- answer's own, which may be out of range by now. Tasks the answer excluded stay excluded. It looks through the examples of today.
-- Locks: none. Raises: LX001 bad setting; LX004 unknown answer, or an erased one.
create or replace function loradex.reroute(
    answer_id uuid, k int default null, top_p float8 default null, temperature float8 default null
) returns table (
    rank int, task text, neighbours int, best_similarity float8, probability float8, weight float8, in_nucleus boolean
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    stored retrievals;
    request route_request;
    nearby neighbour[];
begin
    select r.* into stored from retrievals r where r.answer_id = reroute.answer_id;
    if not found then
        raise exception using errcode = 'LX004', message = format(
            'no answer %s; list them with `select id from loradex.answers`', coalesce(reroute.answer_id::text, 'null'));
    end if;
    if stored.query is null then
        raise exception using errcode = 'LX004', message = format(
            'the query of answer %s was erased, so it cannot be routed again', reroute.answer_id);
    end if;
    perform check_routing(coalesce(k, 1), coalesce(top_p, 1e-300), coalesce(temperature, 1));
    request := row(1, stored.query, coalesce(k, stored.k), coalesce(top_p, stored.top_p),
                   coalesce(temperature, stored.temperature), stored.exclude_tasks, null, '{}', null);
    nearby := search_examples(array[request], stored.encoder);
    return query
    select m.rank, m.task, m.neighbours, m.best_similarity, m.probability, m.weight, m.in_nucleus
    from mix_neighbours(array[request], nearby) m
    order by m.rank;
end
$$;
comment on function loradex.reroute(uuid, int, float8, float8) is
    'task_distribution for the stored query of an answer under other settings; null keeps the answer''s own.';
revoke execute on function loradex.reroute(uuid, int, float8, float8) from public;
grant execute on function loradex.reroute(uuid, int, float8, float8)
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/reroute_all.sql
-- How the mixture of every stored answer would change under other settings (null keeps the answer's own) with the
-- examples and adapters of today: total variation between the task weights then and now, tasks that came and went.
-- Weight that went to or came from no adapter at all counts as that of the bare model. Answers of methods that go by
-- affinity are judged by their adapters' tasks and the affinities of today, others by the neighbours' tasks.
-- Locks: none. Raises: LX001 bad setting.
create or replace function loradex.reroute_all(
    k int default null, top_p float8 default null, temperature float8 default null,
    since timestamptz default '-infinity'
) returns table (
    answer_id uuid, created_at timestamptz, total_variation float8, tasks_in text[], tasks_out text[]
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    encoder text;
    ids uuid[];
    requests route_request[];
    -- Those of them whose methods go by affinity.
    measured route_request[];
    neighbours neighbour[];
begin
    perform check_routing(coalesce(k, 1), coalesce(top_p, 1e-300), coalesce(temperature, 1));
    for encoder, ids, requests, measured in
        select c.encoder, array_agg(c.answer_id order by c.place), array_agg(c.request order by c.place),
               array_agg(c.request) filter (where c.selection = 'affinity')
        from (
            select p.*,
                   row(p.place, p.query, coalesce(reroute_all.k, p.k), coalesce(reroute_all.top_p, p.top_p),
                       coalesce(reroute_all.temperature, p.temperature), p.exclude_tasks, p.base_model,
                       p.exclude_adapters, p.job_id)::route_request as request
            from (
                select a.id as answer_id, a.query, a.encoder, a.k, a.top_p, a.temperature, a.exclude_tasks,
                       a.exclude_adapters, a.base_model, a.job_id, h.selection,
                       (row_number() over chain - 1) / 256 as chunk,
                       ((row_number() over chain - 1) % 256 + 1)::int as place
                from answers a
                join methods h on h.name = a.method
                where a.query is not null and a.created_at >= since and a.id >= first_id(since)
                window chain as (partition by a.encoder order by a.position)
            ) p
        ) c
        group by c.encoder, c.chunk
        order by c.encoder, c.chunk
    loop
        neighbours := search_examples(requests, encoder);
        return query
        with judged as (
            select ids[r.ordinal] as answer_id from unnest(measured) r
        ), fresh as (
            select ids[m.ordinal] as answer_id, m.task, m.weight
            from mix_neighbours(requests, neighbours) m
            where m.in_nucleus and ids[m.ordinal] not in (select j.answer_id from judged j)
            union all
            select ids[m.ordinal], m.task, sum(m.weight) from mix_affinities(measured, neighbours) m
            group by m.ordinal, m.task
        ), stored as (
            select t.answer_id, t.task, t.weight from retrieved_tasks t
            where t.answer_id = any (ids) and t.in_nucleus and t.answer_id not in (select j.answer_id from judged j)
            union all
            select c.answer_id, c.task, sum(c.weight) from merge_components c join judged j on j.answer_id = c.answer_id
            group by c.answer_id, c.task
        ), change as (
            select coalesce(f.answer_id, s.answer_id) as answer_id, coalesce(f.task, s.task) as task,
                   coalesce(f.weight, 0) as after, coalesce(s.weight, 0) as before
            from fresh f full join stored s on s.answer_id = f.answer_id and s.task = f.task
        )
        select a.id, a.created_at, coalesce((sum(abs(c.after - c.before)) + abs(sum(c.after) - sum(c.before))) / 2, 0),
               coalesce(array_agg(c.task order by c.after desc) filter (where c.before = 0), '{}'),
               coalesce(array_agg(c.task order by c.before desc) filter (where c.after = 0), '{}')
        from answers a left join change c on c.answer_id = a.id
        where a.id = any (ids)
        group by a.id, a.created_at, a.position
        order by a.position;
    end loop;
end
$$;
comment on function loradex.reroute_all(int, float8, float8, timestamptz) is
    'For every stored answer since a time: total variation of its task weights under other settings, tasks in and out.';
revoke execute on function loradex.reroute_all(int, float8, float8, timestamptz) from public;
grant execute on function loradex.reroute_all(int, float8, float8, timestamptz) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/retire_base_model.sql
-- Takes a base model out of service: jobs that name it are refused from now on. What it answered stays explained, and
-- registering it again brings it back. Retiring it twice changes nothing.
-- Locks: its row. Raises: LX001 it is the default, or jobs wait for it; LX002 unknown.
create or replace function loradex.retire_base_model(name text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    waiting bigint;
begin
    if not exists (select from base_models m where m.name = retire_base_model.name for update) then
        raise exception using errcode = 'LX002', message = format(
            'no base model %s; known are: %s', shown(retire_base_model.name),
            coalesce((select string_agg(m.name, ', ' order by m.name) from base_models m), 'none yet'));
    end if;
    if to_jsonb(retire_base_model.name) = (select s.value from settings s where s.name = 'base_model') then
        raise exception using errcode = 'LX001', message = format(
            '%s is the base model of jobs that name none; make another one the default first: '
            'loradex settings set base_model NAME', shown(retire_base_model.name));
    end if;
    select count(*) into waiting from jobs j
    where j.base_model = retire_base_model.name and j.state in ('queued', 'running');
    if waiting > 0 then
        raise exception using errcode = 'LX001', message = format(
            '%s jobs wait for base model %s; let them be answered or end them first', waiting, shown(retire_base_model.name));
    end if;
    update base_models m set retired_at = now() where m.name = retire_base_model.name and m.retired_at is null;
end
$$;
comment on function loradex.retire_base_model(text) is
    'Takes a base model out of service: jobs that name it are refused from now on.';
revoke execute on function loradex.retire_base_model(text) from public;
grant execute on function loradex.retire_base_model(text) to loradex_admin;

-- file: functions/retire_encoder.sql
-- Takes an encoder out of service: jobs that name it are refused from now on. What it answered stays explained, and
-- registering it again brings it back. Retiring it twice changes nothing.
-- Locks: its row. Raises: LX001 it is the default, or jobs wait for it; LX002 unknown.
create or replace function loradex.retire_encoder(name text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    waiting bigint;
begin
    if not exists (select from encoders m where m.name = retire_encoder.name for update) then
        raise exception using errcode = 'LX002', message = format(
            'no encoder %s; known are: %s', shown(retire_encoder.name),
            coalesce((select string_agg(m.name, ', ' order by m.name) from encoders m), 'none yet'));
    end if;
    if to_jsonb(retire_encoder.name) = (select s.value from settings s where s.name = 'encoder') then
        raise exception using errcode = 'LX001', message = format(
            '%s is the encoder of jobs that name none; make another one the default first: '
            'loradex settings set encoder NAME', shown(retire_encoder.name));
    end if;
    select count(*) into waiting from jobs j
    where j.encoder = retire_encoder.name and j.state in ('queued', 'running');
    if waiting > 0 then
        raise exception using errcode = 'LX001', message = format(
            '%s jobs wait for encoder %s; let them be answered or end them first', waiting, shown(retire_encoder.name));
    end if;
    update encoders m set retired_at = now() where m.name = retire_encoder.name and m.retired_at is null;
end
$$;
comment on function loradex.retire_encoder(text) is
    'Takes an encoder out of service: jobs that name it are refused from now on.';
revoke execute on function loradex.retire_encoder(text) from public;
grant execute on function loradex.retire_encoder(text) to loradex_admin;

-- file: functions/revoke_api_key.sql
-- Refuses an API key from now on, for good; one that was revoked before stays as it is. Returns whether it
-- was not revoked before.
-- Locks: the key's row. Raises: LX002 no such key.
create or replace function loradex.revoke_api_key(id bigint) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    before timestamptz;
begin
    select k.revoked_at into before from api_keys k where k.id = revoke_api_key.id for update;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no key %s; see `loradex key list`', coalesce(revoke_api_key.id::text, 'null'));
    end if;
    update api_keys k set revoked_at = now() where k.id = revoke_api_key.id and k.revoked_at is null;
    return before is null;
end
$$;
comment on function loradex.revoke_api_key(bigint) is 'Refuses an API key from now on; returns whether it was not revoked before.';
revoke execute on function loradex.revoke_api_key(bigint) from public;
grant execute on function loradex.revoke_api_key(bigint) to loradex_admin;

-- file: functions/rotate_api_key.sql
-- Gives an API key a new secret, of which the caller tells the hash alone; the one of before is good for `keep` longer, and
-- one that a rotation kept before that is refused from now on. Owner, scopes, limits and end stay. Returns until when the
-- secret of before is good.
-- Locks: the key's row. Raises: LX001 no hash, `keep` out of its range, a key that is refused anyway, a secret that is
-- there already; LX002 no such key.
create or replace function loradex.rotate_api_key(id bigint, key_hash bytea, keep interval default '24 hours')
returns table (old_until timestamptz)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    until constant timestamptz := now() + keep;
    found_key api_keys;
begin
    if rotate_api_key.key_hash is null or octet_length(rotate_api_key.key_hash) <> 32 then
        raise exception using errcode = 'LX001', message = 'give the SHA-256 of the new key, which has 32 bytes';
    end if;
    if keep is null or keep < interval '0' or keep > interval '365 days' then
        raise exception using errcode = 'LX001', message =
            'the key of before may be kept for 0 to 365 days; 0 refuses it at once';
    end if;
    select k.* into found_key from api_keys k where k.id = rotate_api_key.id for update;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no key %s; see `loradex key list`', coalesce(rotate_api_key.id::text, 'null'));
    end if;
    if found_key.revoked_at is not null or found_key.expires_at <= now() then
        raise exception using errcode = 'LX001', message = format(
            'key %s was revoked or has expired; make another', found_key.id);
    end if;
    if exists (select from api_keys k where rotate_api_key.key_hash in (k.key_hash, k.old_key_hash)) then
        raise exception using errcode = 'LX001', message = 'this key is there already; make another';
    end if;
    update api_keys k
    set key_hash = rotate_api_key.key_hash, old_key_hash = found_key.key_hash, old_until = until
    where k.id = found_key.id;
    return query select until;
end
$$;
comment on function loradex.rotate_api_key(bigint, bytea, interval) is
    'Gives an API key a new secret; returns until when the one of before is good.';
revoke execute on function loradex.rotate_api_key(bigint, bytea, interval) from public;
grant execute on function loradex.rotate_api_key(bigint, bytea, interval) to loradex_admin;

-- file: functions/route_jobs.sql
-- Routes a batch of jobs and keeps what was decided, with the query vectors, until record_answer makes it evidence: a
-- worker reads the mixture and how it is merged, and is never asked what Postgres decided.
-- Of a job that is not this worker's nothing is kept.
-- Its transaction does not wait for the disk: what a crash takes is decided again (LX010). Call it in one of its own.
-- Locks: rows of routings of its own jobs, and those jobs' rows, FOR KEY SHARE. Raises: as decide_routes; LX001 a token that is too short.
create or replace function loradex.route_jobs(job_ids uuid[], queries public.vector[], token text default null)
returns table (job_id uuid, routing jsonb)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    mine bytea := claim_hash(token);
    committing text := set_config('synchronous_commit', 'off', true);
begin
    return query
    with decided as materialized (
        select d.job_id, d.routing from decide_routes(job_ids, queries) d
    ), kept as (
        insert into routings
        select d.job_id, j.attempt, g.query, d.routing
        from decided d
        join unnest(job_ids, queries) g(id, query) on g.id = d.job_id
        join jobs j on j.id = d.job_id and j.state = 'running' and j.claim_hash = mine
        on conflict (job_id) do update
        set attempt = excluded.attempt, query = excluded.query, routing = excluded.routing
    )
    select d.job_id, d.routing from decided d;
    -- Of a job that ended meanwhile neither: its row was waited for above (whoever ends a job locks it FOR UPDATE).
    delete from routings r using jobs j
    where r.job_id = any (job_ids) and j.id = r.job_id and j.state <> 'running';
end
$$;
comment on function loradex.route_jobs(uuid[], public.vector[], text) is
    'decide_routes for running jobs, kept until record_answer: one JSON document per job.';
revoke execute on function loradex.route_jobs(uuid[], public.vector[], text) from public;
grant execute on function loradex.route_jobs(uuid[], public.vector[], text) to loradex_worker;

-- file: functions/seal_tenant.sql
-- An owner, what may be done for it, and the key that was shown, as this transaction's setting loradex.tenant holds them: with a seal (HMAC-SHA-256
-- of them, the session and the transaction's start) that only the owner of the schema can make. Any session may set the
-- setting, and none can make a seal, nor use one in another transaction than its own.
-- Locks: none. Raises: nothing.
create or replace function loradex.seal_tenant(owner text, scopes text, key text) returns text
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select format('%s %s %s %s', owner, scopes, key, encode(sha256(outer_key || sha256(inner_key || convert_to(
        format('%s %s %s %s %s', owner, scopes, key, pg_backend_pid(), extract(epoch from transaction_timestamp())), 'UTF8'))), 'hex'))
    from tenant_secret
$$;
comment on function loradex.seal_tenant(text, text, text) is
    'An owner, scopes and a key with the seal of this transaction, as loradex.tenant holds them; internal.';
revoke execute on function loradex.seal_tenant(text, text, text) from public;

-- file: functions/search_exactly.sql
-- The neighbours of every request by looking at every vector of the allowed tasks; slow and exact.
-- search_examples falls back on it where the index would not do, tests and benchmarks measure recall against it. No
-- index is over whole vectors, so no plan of it can be inexact.
-- The requests must have been checked. Locks: none. Raises: nothing of its own.
create or replace function loradex.search_exactly(requests loradex.route_request[], encoder text)
returns loradex.neighbour[]
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    return array(
        select row(r.ordinal, row_number() over (partition by r.ordinal order by e.distance, e.example_id), e.example_id,
                   e.task, 1 - e.distance)::neighbour
        from unnest(requests) r
        cross join lateral (
            select x.example_id, x.task, x.embedding <=> r.query as distance
            from example_embeddings x
            where x.encoder = search_exactly.encoder
              and x.task = any (array(select t.name from tasks t where t.name <> all (r.exclude_tasks)))
            order by distance, x.example_id
            limit r.k
        ) e);
end
$$;
comment on function loradex.search_exactly(loradex.route_request[], text) is
    'Neighbours of every request by looking at every vector of the allowed tasks: exact; internal.';
revoke execute on function loradex.search_exactly(loradex.route_request[], text) from public;
grant execute on function loradex.search_exactly(loradex.route_request[], text)
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/search_examples.sql
-- The neighbours of every request: the only place that compares vectors. One statement for all of them.
-- The requests must have been checked (check_vector, check_routing). Locks: none. Raises: nothing of its own.
--
-- A filter is applied after the index has found its candidates. So with excluded tasks the scan is wider and goes on
-- until enough rows are left (iterative_scan). Where few rows may be looked at at all, looking at each is faster and
-- exact; what the index finds too few for is searched exactly too.
--
-- How many candidates a search looks at (ef_search) grows with the cube root of what the index holds: 88 for 10,651
-- examples, 128 for 32,566, 400 for a million. A constant would find less and less of the nearest (docs/decisions.md).
create or replace function loradex.search_examples(requests loradex.route_request[], encoder text)
returns loradex.neighbour[]
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set hnsw.ef_search = 40
set hnsw.iterative_scan = off
set hnsw.max_scan_tuples = 100000
set hnsw.scan_mem_multiplier = 8
as $$
declare
    -- Examples from which on near duplicates may be grouped: of each group one is in the index, and counts.
    large constant int := 131072;
    -- Rows up to which looking at each costs less than a filtered scan of the index (measured: about 0.7 us a row).
    -- In a large index also up to an eighth of it, which is slow and right: with 90 % of a million rows excluded the
    -- filtered scan found 0.81 of the nearest in 80 to 560 ms, looking at all 1.0 in 0.1 to 1.4 s (busy machine).
    few int := 8192;
    -- Requests from which on other processes are worth starting.
    many constant int := 32;
    rows float8 := (select c.reltuples from pg_class c where c.oid = 'loradex.example_embeddings'::regclass);
    indexed float8 := rows;
    breadth int;
    walked route_request[] := requests;
    looked_at route_request[];
    excluding boolean := cardinality(requests[1].exclude_tasks) > 0;
    deepest int := requests[1].k;
    wanted bigint := deepest;
    neighbours neighbour[];
    short route_request[];
begin
    if rows >= large then
        indexed := (
            select c.reltuples from pg_class c where c.oid = to_regclass(format('loradex.%I', encoder_index(encoder))));
    end if;
    breadth := greatest(64, 4 * cbrt(greatest(indexed, 0)));
    if cardinality(requests) > 1 then
        select bool_or(cardinality(r.exclude_tasks) > 0), max(r.k), sum(r.k) into excluding, deepest, wanted
        from unnest(requests) r;
    end if;
    if excluding then
        few := greatest(few, least(131072, indexed / 8));
        with narrow as (
            select s.exclude_tasks
            from (select distinct r.exclude_tasks from unnest(requests) r where cardinality(r.exclude_tasks) > 0) s
            where (select count(*) from (
                select from example_embeddings x
                where x.encoder = search_examples.encoder and x.duplicate_of is null
                  and x.task = any (array(select t.name from tasks t where t.name <> all (s.exclude_tasks)))
                limit few + 1) y) <= few
        )
        select array_agg(r) filter (where r.exclude_tasks not in (select n.exclude_tasks from narrow n)),
               array_agg(r) filter (where r.exclude_tasks in (select n.exclude_tasks from narrow n))
        into walked, looked_at
        from unnest(requests) r;
    end if;

    if walked is not null then
        -- These last until the function returns, as the same settings above do.
        if excluding then
            perform set_config('hnsw.iterative_scan', 'relaxed_order', true);
            breadth := greatest(breadth, 400);
        end if;
        perform set_config('hnsw.ef_search', least(1000, greatest(breadth, deepest))::text, true);
        if cardinality(walked) < many then
            neighbours := search_vectors(walked, encoder, excluding);
        else
            neighbours := array(select n from search_in_parts(walked, encoder, excluding) n);
        end if;
    end if;
    if rows >= large and looked_at is not null then
        neighbours := neighbours || search_groups(looked_at, encoder);
    end if;
    if cardinality(neighbours) = wanted then
        return neighbours;
    end if;
    short := array(
        select r from unnest(requests) r
        where r.k > (select count(*) from unnest(neighbours) n where n.ordinal = r.ordinal));
    neighbours := array(
        select n from unnest(neighbours) n
        where not exists (select from unnest(short) r where r.ordinal = n.ordinal));
    return neighbours || search_exactly(short, encoder);
end
$$;
comment on function loradex.search_examples(loradex.route_request[], text) is
    'Neighbours of every request by cosine, through the HNSW index of the encoder; internal.';
revoke execute on function loradex.search_examples(loradex.route_request[], text) from public;
grant execute on function loradex.search_examples(loradex.route_request[], text)
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/search_groups.sql
-- The neighbours of every request by looking at one example of each group of near duplicates, and into the nearest
-- groups: what search_exactly finds, where nothing is grouped; else nearly that, without looking at a thousand copies.
-- search_examples calls it in a large table for requests that exclude most of it.
-- The requests must have been checked. Locks: none. Raises: nothing of its own.
create or replace function loradex.search_groups(requests loradex.route_request[], encoder text)
returns loradex.neighbour[]
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    return array(
        select row(n.ordinal, n.rank, n.example_id, n.task, 1 - n.distance)::neighbour
        from (
            select r.ordinal, r.k, e.*,
                   (row_number() over (partition by r.ordinal order by e.distance, e.example_id))::int as rank
            from unnest(requests) r
            cross join lateral (
                select o.*
                from (
                    select x.example_id, x.task, x.embedding <=> r.query as distance
                    from example_embeddings x
                    where x.encoder = search_groups.encoder and x.duplicate_of is null
                      and x.task = any (array(select t.name from tasks t where t.name <> all (r.exclude_tasks)))
                    order by distance, x.example_id
                    limit greatest(32, 2 * r.k)
                ) one
                cross join lateral (
                    select one.example_id, one.task, one.distance
                    union all
                    select x.example_id, x.task, x.embedding <=> r.query
                    from example_embeddings x
                    where x.encoder = search_groups.encoder and x.duplicate_of = one.example_id
                ) o
                -- As search_vectors has it.
                limit greatest(256, 8 * r.k)
            ) e
        ) n
        where n.rank <= n.k);
end
$$;
comment on function loradex.search_groups(loradex.route_request[], text) is
    'Neighbours of every request by looking at one example of each group of near duplicates; internal.';
revoke execute on function loradex.search_groups(loradex.route_request[], text) from public;
grant execute on function loradex.search_groups(loradex.route_request[], text)
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/search_in_parts.sql
-- The neighbours of a batch of requests, found in eight parts by this process and another that Postgres lends: a batch
-- of 64 takes two thirds of the time. With no process free it does the parts itself. A new process has none of the
-- pages at hand, which takes it some 20 ms; so a second one makes a batch slower on two cores. Requests that are alike
-- follow each other, since they walk through the same pages: sorted by the nearest of the first eight.
-- search_examples calls it; the settings of hnsw that are in force there are in force in every part.
-- It is a function of its own because Postgres gives nothing away in a statement that may stop early, such as select
-- into or an expression of PL/pgSQL (PostgreSQL 18, executor/execMain.c); return query is none.
-- The requests must have been checked. Locks: none. Raises: nothing.
create or replace function loradex.search_in_parts(
    requests loradex.route_request[], encoder text, excluding boolean
) returns setof loradex.neighbour
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
set parallel_setup_cost = 0
set parallel_tuple_cost = 0
set max_parallel_workers = 1
as $$
declare
    eighth constant int := (cardinality(requests) + 7) / 8;
    sorted route_request[] := array(
        select r from unnest(requests) r
        order by (select p.ordinal from unnest(requests[:8]) p order by p.query <=> r.query limit 1),
                 r.query <=> requests[1].query);
begin
    return query
    select n.* from unnest(search_vectors(sorted[: eighth], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(sorted[eighth + 1 : 2 * eighth], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(sorted[2 * eighth + 1 : 3 * eighth], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(sorted[3 * eighth + 1 : 4 * eighth], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(sorted[4 * eighth + 1 : 5 * eighth], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(sorted[5 * eighth + 1 : 6 * eighth], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(sorted[6 * eighth + 1 : 7 * eighth], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(sorted[7 * eighth + 1 :], encoder, excluding)) n;
end
$$;
comment on function loradex.search_in_parts(loradex.route_request[], text, boolean) is
    'Neighbours of a batch of requests by the index of the encoder, in parts for several processes; internal.';
revoke execute on function loradex.search_in_parts(loradex.route_request[], text, boolean) from public;
grant execute on function loradex.search_in_parts(loradex.route_request[], text, boolean)
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/set_adapter_state.sql
-- Activates or retires an adapter. Activated, it takes the share it is given: 1 retires those that were active for its
-- task and base model, less leaves them the rest. Retired, what it had goes to the others in proportion.
-- Without a version, retiring takes the active one and activating the newest.
-- Locks: state changes of one task wait for each other. Raises: LX001 unknown state, bad share, or several versions to
-- choose from; LX002 unknown adapter, or none of its versions is active.
create or replace function loradex.set_adapter_state(name text, version int, state text, share float8 default 1)
returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    chosen adapters;
    active int[];
begin
    if coalesce(state, '') not in ('active', 'retired') then
        raise exception using errcode = 'LX001', message = 'an adapter''s state is set to active or retired';
    end if;
    select a.* into chosen from adapters a
    where a.name = set_adapter_state.name
      and (set_adapter_state.version is null or a.version = set_adapter_state.version)
    order by a.version desc
    limit 1;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no adapter %s%s; see `loradex adapter list`', shown(name),
            coalesce(' version ' || version, ''));
    end if;
    perform from tasks t where t.name = chosen.task for no key update;
    if state = 'active' then
        perform activate_adapter(chosen.id, share);
        return chosen.id;
    end if;
    if version is null then
        active := array(select a.version from adapters a
                        where a.name = chosen.name and a.state = 'active' order by a.version);
        if cardinality(active) = 0 then
            raise exception using errcode = 'LX002', message = format(
                'no version of adapter %s is active; see `loradex adapter list --all`', shown(name));
        end if;
        if cardinality(active) > 1 then
            raise exception using errcode = 'LX001', message = format(
                'versions %s of adapter %s are active; say which', array_to_string(active, ', '), shown(name));
        end if;
    end if;
    select a.* into chosen from adapters a
    where a.name = chosen.name and a.version = coalesce(set_adapter_state.version, active[1]);
    if chosen.state <> 'retired' then
        update adapters a set state = 'retired', share = 0, retired_at = now() where a.id = chosen.id;
        update adapters a set share = a.share / (
            select sum(b.share) from adapters b
            where b.base_model = chosen.base_model and b.task = chosen.task and b.state = 'active')
        where a.base_model = chosen.base_model and a.task = chosen.task and a.state = 'active';
    end if;
    return chosen.id;
end
$$;
comment on function loradex.set_adapter_state(text, int, text, float8) is
    'Activates an adapter with its share of its task, or retires it (version null: the newest, or the active one).';
revoke execute on function loradex.set_adapter_state(text, int, text, float8) from public;
grant execute on function loradex.set_adapter_state(text, int, text, float8) to loradex_admin;

-- file: functions/set_chat_template.sql
-- Gives a base model the chat template that its conversations are read by, another one, or none. `system_role` says
-- whether it takes a system message. Nothing is rendered here: `loradex model register` tries it first. Answers keep how
-- their conversation was laid out, so that another template changes none of them.
-- Locks: its row. Raises: LX001 bad value; LX002 unknown base model.
create or replace function loradex.set_chat_template(name text, template text, system_role boolean default false)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if octet_length(template) > 200000 or template !~ '\S' or system_role is null then
        raise exception using errcode = 'LX001', message =
            'a chat template is a text of at most 200,000 bytes, and system_role is true or false';
    end if;
    update base_models m set chat_template = template, system_role = set_chat_template.system_role and template is not null
    where m.name = set_chat_template.name;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no base model %s; known are: %s', shown(name),
            coalesce((select string_agg(m.name, ', ' order by m.name) from base_models m), 'none yet'));
    end if;
end
$$;
comment on function loradex.set_chat_template(text, text, boolean) is
    'Gives a base model the chat template that conversations are read by; null: none.';
revoke execute on function loradex.set_chat_template(text, text, boolean) from public;
grant execute on function loradex.set_chat_template(text, text, boolean) to loradex_admin;

-- file: functions/set_generation_defaults.sql
-- Gives a base model the settings that its texts are written with where a job does not say them, other ones, or none.
-- Jobs that are in the queue keep what they were accepted with, and answers what they were written with.
-- Locks: its row. Raises: LX001 bad value, or a setting that no model may give; LX002 unknown base model.
create or replace function loradex.set_generation_defaults(name text, defaults jsonb) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    -- How tokens are chosen. How many are written at most is what an answer may cost, which is not the model's to say.
    its_own constant text[] := array(
        select s.name from settings s
        where s.kind = 'job' and (s.name like 'sampling\_%' or s.name = 'repetition_penalty') order by s.name);
    given jsonb;
begin
    if defaults is not null and (
        jsonb_typeof(defaults) <> 'object' or pg_column_size(defaults) > 10000 or defaults - its_own <> '{}') then
        raise exception using errcode = 'LX001', message = format(
            'generation defaults are an object of at most 10,000 bytes, of numbers for %s',
            array_to_string(its_own, ', '));
    end if;
    given := nullif(jsonb_strip_nulls(defaults), '{}');
    begin
        perform check_settings(json_build_array(given)) where given is not null;
    exception
        when sqlstate 'LX001' then
            raise exception using errcode = 'LX001', message = format(
                'the generation defaults of %s cannot be kept: %s; leave them out with --no-generation-config',
                shown(set_generation_defaults.name), sqlerrm);
    end;
    -- A whole number is written without a fraction.
    given := (select jsonb_object_agg(g.key, trim_scale((g.value #>> '{}')::numeric)) from jsonb_each(given) g);
    update base_models m set generation_defaults = given where m.name = set_generation_defaults.name;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no base model %s; known are: %s', shown(set_generation_defaults.name),
            coalesce((select string_agg(m.name, ', ' order by m.name) from base_models m), 'none yet'));
    end if;
end
$$;
comment on function loradex.set_generation_defaults(text, jsonb) is
    'Gives a base model the settings its texts are written with where a job does not say them; null: none.';
revoke execute on function loradex.set_generation_defaults(text, jsonb) from public;
grant execute on function loradex.set_generation_defaults(text, jsonb) to loradex_admin;

-- file: functions/shown.sql
-- A text as a message may show it: quoted, and cut where it is long.
-- Locks: none. Raises: nothing.
create or replace function loradex.shown(value text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select coalesce(quote_literal(left(value, 100)) || case when length(value) > 100 then '...' else '' end, 'null')
$$;
comment on function loradex.shown(text) is 'A text as a message may show it: quoted, and cut where it is long.';
revoke execute on function loradex.shown(text) from public;
grant execute on function loradex.shown(text) to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: functions/similar_answers.sql
-- Past questions near a query vector, nearest first, and the mixture they got. It looks at every stored query.
-- Locks: none. Raises: LX001 bad k; LX002 unknown encoder; LX005 bad vector.
create or replace function loradex.similar_answers(
    query public.vector, k int default 10, encoder text default 'all-MiniLM-L6-v2'
) returns table (
    rank int, answer_id uuid, similarity float8, prompt text, answer text, method text, mixture jsonb
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    perform check_routing(k, 1e-300, 1);
    perform check_vector(similar_answers.query, similar_answers.encoder);
    return query
    select (row_number() over (order by n.distance, a.position))::int, a.id, 1 - n.distance, a.prompt, a.text, a.method,
           coalesce((select jsonb_object_agg(c.adapter, c.weight) from unnest(a.adapters, a.weights) c(adapter, weight)),
                    '{}')
    from (
        select r.id, r.query <=> similar_answers.query as distance
        from answers r
        where r.encoder = similar_answers.encoder and r.query is not null
        order by distance
        limit similar_answers.k
    ) n
    join answers a on a.id = n.id
    order by 1;
end
$$;
comment on function loradex.similar_answers(public.vector, int, text) is
    'Past questions nearest to a query vector, with their answers and mixtures (adapter to weight).';
revoke execute on function loradex.similar_answers(public.vector, int, text) from public;
grant execute on function loradex.similar_answers(public.vector, int, text) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/simulate_retire.sql
-- The answers whose mixture would change if an adapter were retired, and how, judged by the neighbours that were
-- stored with them, what their jobs draw among adapters that share a task, and the other adapters and affinities of
-- today. Answers of methods that take one adapter by name, or all alike, are left out: these do not go by neighbours.
-- `since` leaves out older ones.
-- Locks: none. Raises: LX002 unknown adapter.
create or replace function loradex.simulate_retire(adapter text, since timestamptz default null) returns table (
    answer_id uuid, created_at timestamptz, weight float8, total_variation float8, mixture jsonb
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    ids uuid[];
    selections text[];
    requests route_request[];
    -- Those of them whose methods go by affinity.
    measured route_request[];
    nearby neighbour[];
begin
    if not exists (select from adapters a where a.name = simulate_retire.adapter) then
        raise exception using errcode = 'LX002', message = format(
            'no adapter %s; see `loradex adapter list`', shown(adapter));
    end if;
    for ids, selections, requests, measured in
        select array_agg(c.answer_id order by c.place), array_agg(c.selection order by c.place),
               array_agg(c.request) filter (where c.selection in ('nucleus', 'first')),
               array_agg(c.request) filter (where c.selection = 'affinity')
        from (
            select p.*, row(p.place, null, p.k, p.top_p, p.temperature, p.exclude_tasks, p.base_model,
                            p.exclude_adapters || simulate_retire.adapter, p.job_id)::route_request as request
            from (
                select a.id as answer_id, a.k, a.top_p, a.temperature, a.exclude_tasks, a.exclude_adapters,
                       a.base_model, a.job_id, h.selection,
                       (row_number() over chain - 1) / 256 as chunk,
                       ((row_number() over chain - 1) % 256 + 1)::int as place
                from answers a
                join methods h on h.name = a.method and h.selection in ('nucleus', 'first', 'affinity')
                where a.adapters @> array[simulate_retire.adapter]
                  and a.id >= coalesce(first_id(simulate_retire.since), '00000000-0000-0000-0000-000000000000')
                window chain as (order by a.position)
            ) p
        ) c
        group by c.chunk
        order by c.chunk
    loop
        select array_agg(row(array_position(ids, e.answer_id), e.rank, e.example_id, e.task, e.similarity)::neighbour)
        into nearby
        from retrieved_examples e where e.answer_id = any (ids);
        return query
        with fresh as (
            select ids[m.ordinal] as answer_id, m.adapter,
                   case when selections[m.ordinal] = 'first' then 1 else m.weight end as weight
            from (select n.*, min(n.rank) over (partition by n.ordinal) as first
                  from mix_neighbours(requests, nearby) n where n.in_nucleus) m
            where selections[m.ordinal] <> 'first' or m.rank = m.first
            union all
            select ids[m.ordinal], m.adapter, m.weight from mix_affinities(measured, nearby) m
        ), stored as (
            select c.answer_id, c.adapter, c.weight from merge_components c where c.answer_id = any (ids)
        ), change as (
            select coalesce(f.answer_id, s.answer_id) as answer_id, coalesce(f.adapter, s.adapter) as adapter,
                   coalesce(f.weight, 0) as after, coalesce(s.weight, 0) as before
            from fresh f full join stored s on s.answer_id = f.answer_id and s.adapter = f.adapter
        )
        select a.id, a.created_at, sum(c.before) filter (where c.adapter = simulate_retire.adapter),
               (sum(abs(c.after - c.before)) + abs(sum(c.after) - sum(c.before))) / 2,
               coalesce(jsonb_object_agg(c.adapter, c.after) filter (where c.after > 0), '{}')
        from change c join answers a on a.id = c.answer_id
        group by a.id, a.created_at, a.position
        order by a.position;
    end loop;
end
$$;
comment on function loradex.simulate_retire(text, timestamptz) is
    'Answers whose mixture would change without an adapter: its weight, total variation, the mixture instead.';
revoke execute on function loradex.simulate_retire(text, timestamptz) from public;
grant execute on function loradex.simulate_retire(text, timestamptz) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/take_embeddings.sql
-- The vectors that ask_embeddings asked for, in the order of the texts, or why there are none; they can be taken once. No
-- rows: they are not there yet, or the request is over or another user's, which looks the same.
-- Locks: the row. Raises: nothing.
create or replace function loradex.take_embeddings(embeddings_id uuid)
returns table (encoder text, vectors public.vector[], tokens int, refusal text)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    delete from embeddings e
    where e.id = embeddings_id and e.owner_id = current_owner() and e.texts is null
    returning e.encoder, e.vectors, e.tokens, e.refusal;
end
$$;
comment on function loradex.take_embeddings(uuid) is 'The vectors that ask_embeddings asked for; they can be taken once.';
revoke execute on function loradex.take_embeddings(uuid) from public;
grant execute on function loradex.take_embeddings(uuid) to loradex_client, loradex_admin;

-- file: functions/take_replay.sql
-- How an answer and its replay compare, or why it could not be replayed; it can be taken once. No rows: it is not there
-- yet, or the request is over or another user's, which looks the same.
-- Locks: the row. Raises: nothing.
create or replace function loradex.take_replay(replay_id uuid)
returns table (told jsonb, error_code text, error_message text)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    delete from replays r
    where r.id = replay_id and r.owner_id = current_owner() and num_nonnulls(r.told, r.error_code) = 1
    returning r.told, r.error_code, r.error_message;
end
$$;
comment on function loradex.take_replay(uuid) is
    'How an answer and its replay compare, as ask_replay asked; it can be taken once.';
revoke execute on function loradex.take_replay(uuid) from public;
grant execute on function loradex.take_replay(uuid) to loradex_client, loradex_admin;

-- file: functions/take_requests.sql
-- Authenticates, and takes a share of the requests that this API key may make, for a server that counts them off by itself
-- and comes again when they are used up. So many servers agree on one limit, and a key costs at most 20 writes a minute
-- however much it is used. A key may make a minute's requests at once; they come back evenly. One row: the limit, how many
-- were granted (0: it must wait), how many are left here, and the seconds until all are back and until one is. Of a key
-- without a limit all are null, and nothing is written.
-- Locks: the key's own row of api_key_rates, until commit. Raises: as authenticate.
create or replace function loradex.take_requests(key text) returns table (
    requests_a_minute int, granted int, remaining int, full_in float8, next_in float8
)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    shown constant bigint := authenticate(take_requests.key);
    most constant int := (select k.requests_a_minute from api_keys k where k.id = shown);
    now timestamptz;
    -- Seconds that one request takes to come back, and until all are back.
    each float8;
    missing float8;
begin
    if most is null then
        return query select null::int, null::int, null::int, null::float8, null::float8;
        return;
    end if;
    insert into api_key_rates (key_id, full_at) values (shown, clock_timestamp()) on conflict (key_id) do nothing;
    select extract(epoch from r.full_at - clock_timestamp()) into missing
    from api_key_rates r where r.key_id = shown for update;
    now := clock_timestamp();
    -- Anew, since another server may have had the row until now; and a limit that was raised gives its requests back.
    missing := least(60, greatest(0, (
        select extract(epoch from r.full_at - now) from api_key_rates r where r.key_id = shown)));
    each := 60.0 / most;
    remaining := floor((60 - missing) / each + 1e-6);
    granted := least(greatest(1, most / 20), remaining);
    remaining := remaining - granted;
    if granted > 0 then
        missing := missing + granted * each;
        update api_key_rates r set full_at = now + make_interval(secs => missing) where r.key_id = shown;
    end if;
    return query select most, granted, remaining, missing, greatest(0, missing - (60 - each));
end
$$;
comment on function loradex.take_requests(text) is
    'Authenticates, and takes a share of the requests an API key may make, for a server to count off.';
revoke execute on function loradex.take_requests(text) from public;
grant execute on function loradex.take_requests(text) to loradex_client;

-- file: functions/task_distribution.sql
-- How the k nearest examples vote for tasks, and which tasks survive the nucleus cut (adapters play no part here).
-- Locks: none. Raises: LX001 bad setting; LX002 unknown encoder or excluded task; LX005 bad vector.
create or replace function loradex.task_distribution(
    query public.vector,
    k int default 32,
    top_p float8 default 0.9,
    temperature float8 default 0.1,
    encoder text default 'all-MiniLM-L6-v2',
    exclude_tasks text[] default '{}'
) returns table (
    rank int, task text, neighbours int, best_similarity float8, probability float8, weight float8, in_nucleus boolean
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    request route_request := row(1, query, k, top_p, temperature, exclude_tasks, null, '{}', null);
    nearby neighbour[];
begin
    perform check_routing(k, top_p, temperature, exclude_tasks);
    perform check_vector(query, encoder);
    nearby := search_examples(array[request], encoder);
    return query
    select m.rank, m.task, m.neighbours, m.best_similarity, m.probability, m.weight, m.in_nucleus
    from mix_neighbours(array[request], nearby) m
    order by m.rank;
end
$$;
comment on function loradex.task_distribution(public.vector, int, float8, float8, text, text[]) is
    'Tasks of the nearest examples: probability (sums to 1), weight inside the nucleus (sums to 1), likeliest first.';
revoke execute on function loradex.task_distribution(public.vector, int, float8, float8, text, text[]) from public;
grant execute on function loradex.task_distribution(public.vector, int, float8, float8, text, text[])
    to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/task_overlap.sql
-- How much tasks overlap: of the neighbours of a task's examples, which share belongs to each task. One row a pair
-- that meets; the rows of a task sum to 1.
-- Locks: none. Raises: LX001 bad k; LX002 unknown encoder.
create or replace function loradex.task_overlap(
    k int default 16, encoder text default 'all-MiniLM-L6-v2', examples_a_task int default null
) returns table (task text, neighbour_task text, share float8, mean_similarity float8)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select n.task, n.neighbour_task, count(*) / sum(count(*)) over (partition by n.task)::float8, avg(n.similarity)
    from example_neighbours(k, encoder, examples_a_task) n
    group by n.task, n.neighbour_task
    order by n.task, 3 desc;
end
$$;
comment on function loradex.task_overlap(int, text, int) is
    'For every task the share of its examples'' neighbours that belongs to each task: a matrix in rows.';
revoke execute on function loradex.task_overlap(int, text, int) from public;
grant execute on function loradex.task_overlap(int, text, int) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/unknown_name.sql
-- What is said of a name that nobody knows, or of the first such of a list, given for a setting that names rows of a
-- table; null: all are known.
-- Locks: none. Raises: nothing.
create or replace function loradex.unknown_name(setting loradex.settings, given json) returns text
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return (
        select format('%s names no %s %s; known are: %s', setting.name, rtrim(setting.names, 's'), shown(one), coalesce((
            select string_agg(k.name, ', ' order by k.name) from (
                select m.name from methods m where setting.names = 'methods'
                union select b.name from base_models b where setting.names = 'base_models' and b.retired_at is null
                union select e.name from encoders e where setting.names = 'encoders' and e.retired_at is null
                union select t.name from tasks t where setting.names = 'tasks'
                union select a.name from adapters a where setting.names = 'adapters'
                order by name limit 50) k), 'none yet'))
        from json_array_elements_text(
            case setting.type when 'texts' then given else json_build_array(given) end) one
        where not case setting.names
            when 'methods' then exists (select from methods m where m.name = one)
            when 'base_models' then exists (select from base_models b where b.name = one and b.retired_at is null)
            when 'encoders' then exists (select from encoders e where e.name = one and e.retired_at is null)
            when 'tasks' then exists (select from tasks t where t.name = one)
            when 'adapters' then exists (select from adapters a where a.name = one)
            end
        limit 1);
end
$$;
comment on function loradex.unknown_name(loradex.settings, json) is
    'What is said of a name given for a setting that nobody knows; null: all are known; internal.';
revoke execute on function loradex.unknown_name(loradex.settings, json) from public;
grant execute on function loradex.unknown_name(loradex.settings, json) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/verify_audit_chain.sql
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

-- file: functions/waiting_jobs.sql
-- Jobs that a bell should have answered by now: queued for longer than older_than, or running past their lease.
-- Locks: none. Raises: nothing.
create or replace function loradex.waiting_jobs(
    older_than interval, max_jobs int default 1000, now timestamptz default now()
) returns setof uuid
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    (select j.id from jobs j
     where j.state = 'queued' and j.created_at <= waiting_jobs.now - older_than
     order by j.priority desc, j.turn, j.queue_position
     limit max_jobs)
    union all
    (select j.id from jobs j
     where j.state = 'running' and j.lease_until <= waiting_jobs.now
     order by j.lease_until
     limit max_jobs)
$$;
comment on function loradex.waiting_jobs(interval, int, timestamptz) is
    'Ids of jobs queued for longer than an interval, or whose lease is over: what the sweep rings for.';
revoke execute on function loradex.waiting_jobs(interval, int, timestamptz) from public;
grant execute on function loradex.waiting_jobs(interval, int, timestamptz)
    to loradex_worker, loradex_admin, loradex_reader;

-- file: functions/what_if.sql
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

-- file: functions/withdraw_worker.sql
-- Says that a worker ends: its row is removed. Whoever did not announce it cannot remove it.
-- Locks: the worker's row. Raises: LX001 a token that is too short or too long.
create or replace function loradex.withdraw_worker(worker text, token text default null) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    mine bytea := claim_hash(token);
begin
    delete from workers w where w.name = worker and w.claim_hash = mine;
    return found;
end
$$;
comment on function loradex.withdraw_worker(text, text) is
    'Removes the announcement of a worker that ends; returns whether there was one.';
revoke execute on function loradex.withdraw_worker(text, text) from public;
grant execute on function loradex.withdraw_worker(text, text) to loradex_worker;

-- file: functions/wrong_messages.sql
-- What is wrong with the value given for a setting, the messages of a conversation, as check_settings says it; null: nothing.
-- Sizes are looked at before contents.
-- Locks: none. Raises: nothing.
create or replace function loradex.wrong_messages(setting loradex.settings, given json) returns text
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    roles constant text[] := '{system,user,assistant}';
begin
    return case
        when json_typeof(given) <> 'array' then format('%s must be an array of objects with role and content', setting.name)
        when json_array_length(given) not between setting.minimum and setting.maximum then format(
            '%s are %s; give %s to %s', setting.name, json_array_length(given), setting.minimum, setting.maximum)
        -- A character is written in 12 bytes at most. What is longer is not taken apart.
        when pg_column_size(given) > 12 * setting.longest + 1000 * setting.maximum then format(
            '%s have more than %s characters together; shorten them', setting.name, setting.longest)
        when exists (select from json_array_elements(given) one where json_typeof(one) <> 'object')
            then format('%s must be an array of objects with role and content', setting.name)
        when exists (
            select from json_array_elements(given) one
            where (select array_agg(key order by key) from json_object_keys(one) key) is distinct from '{content,role}'
               or json_typeof(one -> 'role') <> 'string' or json_typeof(one -> 'content') <> 'string')
            then format('each of %s has role and content, both texts, and nothing else', setting.name)
        when exists (select from json_array_elements(given) one where one ->> 'role' <> all (roles))
            then format('a role of %s is none of %s', setting.name, array_to_string(roles, ', '))
        when (select sum(length(one ->> 'content')) from json_array_elements(given) one) > setting.longest then format(
            '%s have more than %s characters together; shorten them', setting.name, setting.longest)
        when exists (select from json_array_elements(given) one where choice_form(one ->> 'content') = '')
            then format('one of %s is empty; leave it out', setting.name)
        when given -> -1 ->> 'role' <> 'user' then format('the last of %s must be the user''s', setting.name)
        end;
end
$$;
comment on function loradex.wrong_messages(loradex.settings, json) is
    'What is wrong with messages given for a setting; null: nothing; internal.';
revoke execute on function loradex.wrong_messages(loradex.settings, json) from public;
grant execute on function loradex.wrong_messages(loradex.settings, json) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/wrong_numbers.sql
-- What is wrong with the value given for a setting, an object of numbers, as check_settings says it; null: nothing.
-- Sizes are looked at before contents.
-- Locks: none. Raises: nothing.
create or replace function loradex.wrong_numbers(setting loradex.settings, given json) returns text
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return case
        when json_typeof(given) <> 'object' then format('%s must be an object of numbers', setting.name)
        -- A number is written in 64 characters at most, and its key in 10. What is longer is not taken apart.
        when pg_column_size(given) > setting.maximum * 100 + 100 then format(
            '%s is too long; give at most %s numbers', setting.name, setting.maximum)
        when (select count(*) from json_object_keys(given)) not between setting.minimum and setting.maximum then format(
            '%s has %s numbers; give at most %s', setting.name, (select count(*) from json_object_keys(given)), setting.maximum)
        when exists (select from json_object_keys(given) key where key !~ '^(0|[1-9][0-9]{0,8})$')
            then format('%s has a key that is no whole number from 0 to 999999999', setting.name)
        when (select count(distinct key) from json_object_keys(given) key)
             < (select count(*) from json_object_keys(given))
            then format('two keys of %s are the same; give each once', setting.name)
        when exists (select from json_each(given) one where json_typeof(one.value) <> 'number'
                     or octet_length(one.value::text) > 64)
            then format('%s must be an object of numbers', setting.name)
        when exists (select from json_each(given) one
                     where abs((one.value #>> '{}')::numeric) > setting.longest
                        or (one.value #>> '{}')::numeric <> 0 and abs((one.value #>> '{}')::numeric) < 1e-300)
            then format('%s has a number that is not from -%s to %s', setting.name, setting.longest, setting.longest)
        end;
end
$$;
comment on function loradex.wrong_numbers(loradex.settings, json) is
    'What is wrong with an object of numbers given for a setting; null: nothing; internal.';
revoke execute on function loradex.wrong_numbers(loradex.settings, json) from public;
grant execute on function loradex.wrong_numbers(loradex.settings, json) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/wrong_pairs.sql
-- What is wrong with the value given for a setting, an object of texts, as check_settings says it; null: nothing.
-- Sizes are looked at before contents.
-- Locks: none. Raises: nothing.
create or replace function loradex.wrong_pairs(setting loradex.settings, given json) returns text
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    longest_key constant int := 64;
begin
    return case
        when json_typeof(given) <> 'object' then format('%s must be an object of texts', setting.name)
        -- A character is written in 12 bytes at most. What is longer is not taken apart.
        when pg_column_size(given) > setting.maximum * (12 * (longest_key + setting.longest) + 100) then format(
            '%s is too long; give at most %s pairs, with keys to %s and texts to %s characters',
            setting.name, setting.maximum, longest_key, setting.longest)
        when (select count(*) from json_object_keys(given)) not between setting.minimum and setting.maximum then format(
            '%s has %s pairs; give at most %s', setting.name, (select count(*) from json_object_keys(given)), setting.maximum)
        when (select count(distinct key) from json_object_keys(given) key)
             < (select count(*) from json_object_keys(given))
            then format('two keys of %s are the same; give each once', setting.name)
        when exists (select from json_object_keys(given) key where length(key) > longest_key or key !~ '\S')
            then format('a key of %s must have 1 to %s characters', setting.name, longest_key)
        when exists (select from json_each(given) pair where json_typeof(pair.value) <> 'string')
            then format('%s must be an object of texts; write numbers as texts', setting.name)
        when exists (select from json_each_text(given) pair where length(pair.value) > setting.longest)
            then format('a text of %s has more than %s characters; shorten it', setting.name, setting.longest)
        end;
end
$$;
comment on function loradex.wrong_pairs(loradex.settings, json) is
    'What is wrong with an object of texts given for a setting; null: nothing; internal.';
revoke execute on function loradex.wrong_pairs(loradex.settings, json) from public;
grant execute on function loradex.wrong_pairs(loradex.settings, json) to loradex_reader, loradex_worker, loradex_admin;

-- file: functions/wrong_texts.sql
-- What is wrong with the value given for a setting, a list of texts, as check_settings says it; null: nothing.
-- Locks: none. Raises: nothing.
create or replace function loradex.wrong_texts(setting loradex.settings, given json) returns text
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return case
        when json_typeof(given) <> 'array' then format('%s must be an array of texts', setting.name)
        when json_array_length(given) < setting.minimum then format(
            '%s has too few texts (%s); give at least %s', setting.name, json_array_length(given), setting.minimum)
        when json_array_length(given) > setting.maximum then format(
            '%s has %s texts; give at most %s', setting.name, json_array_length(given), setting.maximum)
        when exists (select from json_array_elements(given) one where json_typeof(one) <> 'string')
            then format('%s must be an array of texts', setting.name)
        when (select sum(length(one)) from json_array_elements_text(given) one) > setting.longest then format(
            '%s have more than %s characters together; shorten them', setting.name, setting.longest)
        when exists (select from json_array_elements_text(given) one
                     where case setting.type when 'strings' then one = '' else choice_form(one) = '' end)
            then format('a text of %s is empty; give each a text', setting.name)
        when (select count(distinct case setting.type when 'strings' then one else choice_form(one) end)
              from json_array_elements_text(given) one)
             < json_array_length(given) then format('two texts of %s are the same; give each once', setting.name)
        end;
end
$$;
comment on function loradex.wrong_texts(loradex.settings, json) is
    'What is wrong with a list of texts given for a setting; null: nothing; internal.';
revoke execute on function loradex.wrong_texts(loradex.settings, json) from public;
grant execute on function loradex.wrong_texts(loradex.settings, json) to loradex_reader, loradex_worker, loradex_admin;

-- file: views/adapter_draws.sql
-- What was drawn for each answer among adapters that share a task: which of them answered, and why.
-- Rights: those of whoever asks.
create or replace view loradex.adapter_draws with (security_invoker = true) as
select
    a.id as answer_id,
    a.job_id,
    a.created_at,
    d.task,
    d.adapter,
    d.version,
    d.share,
    d.draw,
    d.among
from loradex.answers a
cross join lateral jsonb_to_recordset(a.generation -> 'draws') as d(
    task text, adapter text, version int, share float8, draw float8, among int)
where a.generation ? 'draws';
comment on view loradex.adapter_draws is
    'One row per answer and task that several adapters shared: the one that was drawn, its share and its draw.';
comment on column loradex.adapter_draws.answer_id is 'the answer';
comment on column loradex.adapter_draws.job_id is 'its job, which the draw is made from';
comment on column loradex.adapter_draws.created_at is 'when it was recorded';
comment on column loradex.adapter_draws.task is 'the task that was shared';
comment on column loradex.adapter_draws.adapter is 'the adapter that was drawn';
comment on column loradex.adapter_draws.version is 'its version';
comment on column loradex.adapter_draws.share is 'its share then';
comment on column loradex.adapter_draws.draw is 'adapter_draw of job, content hash and share: the smallest of the task''s';
comment on column loradex.adapter_draws.among is 'adapters of the task that might have answered';
revoke all on loradex.adapter_draws from public;
grant select on loradex.adapter_draws to loradex_reader, loradex_worker, loradex_admin;

-- file: views/adapter_usage.sql
-- How much each adapter was used, by day (UTC).
-- Rights: those of whoever asks.
create or replace view loradex.adapter_usage with (security_invoker = true) as
select
    (a.created_at at time zone 'UTC')::date as day,
    c.adapter,
    c.version,
    c.task,
    count(*) as answers,
    sum(c.weight) as weight,
    sum(c.weight) / sum(sum(c.weight)) over (partition by (a.created_at at time zone 'UTC')::date) as weight_share,
    avg(c.weight) as mean_weight,
    percentile_cont(0.5) within group (order by (a.timings ->> 'total')::float8) as median_milliseconds,
    percentile_cont(0.99) within group (order by (a.timings ->> 'total')::float8) as p99_milliseconds
from loradex.answers a
cross join lateral unnest(a.adapters, a.adapter_versions, a.adapter_tasks, a.weights) c(adapter, version, task, weight)
group by (a.created_at at time zone 'UTC')::date, c.adapter, c.version, c.task;
comment on view loradex.adapter_usage is
    'Per day and adapter: answers it took part in, its share of all weight, and how long these answers took.';
comment on column loradex.adapter_usage.day is 'day in UTC';
comment on column loradex.adapter_usage.adapter is 'the adapter';
comment on column loradex.adapter_usage.version is 'its version';
comment on column loradex.adapter_usage.task is 'its task';
comment on column loradex.adapter_usage.answers is 'answers it took part in';
comment on column loradex.adapter_usage.weight is 'sum of its weights';
comment on column loradex.adapter_usage.weight_share is 'its part of all weight of the day; sums to 1';
comment on column loradex.adapter_usage.mean_weight is 'mean of its weights';
comment on column loradex.adapter_usage.median_milliseconds is 'median time of these answers';
comment on column loradex.adapter_usage.p99_milliseconds is '99th percentile of their time';
revoke all on loradex.adapter_usage from public;
grant select on loradex.adapter_usage to loradex_reader, loradex_worker, loradex_admin;

-- file: views/affinity_intervals.sql
-- How sure each affinity is: its rows, the 95 % interval of its score, and how much of its vote counts.
-- Rights: those of whoever asks.
create or replace view loradex.affinity_intervals with (security_invoker = true) as
select
    f.task,
    a.name as adapter,
    a.version,
    a.base_model,
    a.state,
    f.score,
    f.n,
    -- Wilson's interval. A score is a mean of numbers from 0 to 1, which vary no more than zeros and ones of that mean.
    (f.score + w.z * w.z / (2 * f.n) - w.margin) / w.whole as low,
    (f.score + w.z * w.z / (2 * f.n) + w.margin) / w.whole as high,
    f.n / (f.n + s.value::float8) as counts,
    f.measured_at
from loradex.task_affinities f
join loradex.adapters a on a.id = f.adapter_id
join loradex.settings s on s.name = 'affinity_rows'
cross join lateral (
    select z.z, 1 + z.z * z.z / f.n as whole,
           z.z * sqrt(f.score * (1 - f.score) / f.n + z.z * z.z / (4.0 * f.n * f.n)) as margin
    from (values (1.959964::float8)) z(z)
) w;
comment on view loradex.affinity_intervals is
    'Every affinity with its rows, the 95 % interval of its score, and the part of its vote that counts.';
comment on column loradex.affinity_intervals.task is 'whose rows were asked';
comment on column loradex.affinity_intervals.adapter is 'the adapter that answered';
comment on column loradex.affinity_intervals.version is 'its version';
comment on column loradex.affinity_intervals.base_model is 'the model it belongs to';
comment on column loradex.affinity_intervals.state is 'active, staged or retired';
comment on column loradex.affinity_intervals.score is 'how well, from 0 to 1';
comment on column loradex.affinity_intervals.n is 'rows asked';
comment on column loradex.affinity_intervals.low is 'lower end of the 95 % interval';
comment on column loradex.affinity_intervals.high is 'upper end of the 95 % interval';
comment on column loradex.affinity_intervals.counts is 'n / (n + affinity_rows): how much of its vote counts';
comment on column loradex.affinity_intervals.measured_at is 'when';
revoke all on loradex.affinity_intervals from public;
grant select on loradex.affinity_intervals to loradex_reader, loradex_worker, loradex_admin;

-- file: views/answer_provenance.sql
-- One row an answer: what was asked, what retrieval saw, what was composed, what came out, and what it took.
-- Rights: those of whoever asks, so a client sees its own answers alone.
create or replace view loradex.answer_provenance with (security_invoker = true) as
select
    a.id as answer_id,
    a.job_id,
    a.created_at,
    a.owner,
    a.prompt,
    a.text as answer,
    a.method,
    a.tasks[1] as top_task,
    a.probabilities[1] as top_probability,
    j.expected_task,
    a.similarities[1] as nearest_similarity,
    nullif(a.adapters, '{}') as adapters,
    nullif(a.weights, '{}') as weights,
    a.encoder,
    a.k,
    a.top_p,
    a.temperature,
    a.base_model,
    a.sign_conflict,
    a.routing_milliseconds as routing_milliseconds,
    (a.timings ->> 'total')::float8 as total_milliseconds,
    a.prompt_tokens,
    a.output_tokens,
    a.worker,
    a.attempt,
    a.position,
    loradex.finish_reason(a.generation, a.output_tokens) as finish_reason
from loradex.answers a
left join loradex.jobs j on j.id = a.job_id;
comment on view loradex.answer_provenance is
    'One row an answer: question, nearest example, likeliest task, mixture, settings, cost. Start here.';
comment on column loradex.answer_provenance.answer_id is 'the answer';
comment on column loradex.answer_provenance.job_id is 'its job';
comment on column loradex.answer_provenance.created_at is 'when it was recorded';
comment on column loradex.answer_provenance.owner is 'database user who asked';
comment on column loradex.answer_provenance.prompt is 'the question';
comment on column loradex.answer_provenance.answer is 'the answer''s text';
comment on column loradex.answer_provenance.method is 'how adapters were mixed';
comment on column loradex.answer_provenance.top_task is 'likeliest task';
comment on column loradex.answer_provenance.top_probability is 'its share of the votes';
comment on column loradex.answer_provenance.expected_task is 'true task where known';
comment on column loradex.answer_provenance.nearest_similarity is 'cosine of the nearest example';
comment on column loradex.answer_provenance.adapters is 'adapters of the mixture, heaviest first';
comment on column loradex.answer_provenance.weights is 'their weights, in the same order';
comment on column loradex.answer_provenance.encoder is 'what made the query vector';
comment on column loradex.answer_provenance.k is 'neighbours that voted';
comment on column loradex.answer_provenance.top_p is 'probability mass of the nucleus';
comment on column loradex.answer_provenance.temperature is 'softness of the votes';
comment on column loradex.answer_provenance.base_model is 'model that answered';
comment on column loradex.answer_provenance.sign_conflict is 'share of entries whose signs disagree';
comment on column loradex.answer_provenance.routing_milliseconds is 'time of routing';
comment on column loradex.answer_provenance.total_milliseconds is 'time from claim to answer';
comment on column loradex.answer_provenance.prompt_tokens is 'tokens of the framed prompt';
comment on column loradex.answer_provenance.output_tokens is 'tokens of the answer';
comment on column loradex.answer_provenance.worker is 'who answered';
comment on column loradex.answer_provenance.attempt is 'which attempt at the job';
comment on column loradex.answer_provenance.position is 'place in the audit chain';
comment on column loradex.answer_provenance.finish_reason is 'choice, stop or length: why the answer ended';
revoke all on loradex.answer_provenance from public;
grant select on loradex.answer_provenance to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: views/merge_components.sql
-- The adapters of each answer's mixture, with their weights.
-- Rights: those of whoever asks, so a client sees its own answers alone.
create or replace view loradex.merge_components with (security_invoker = true) as
select a.id as answer_id, c.rank::int as rank, c.adapter_id, c.adapter, c.version, c.task,
       encode(c.sha256, 'hex')::character(64) as sha256, c.uri, c.weight, c.update_norm
from loradex.answers a
cross join lateral unnest(
    a.adapter_ids, a.adapters, a.adapter_versions, a.adapter_tasks, a.adapter_hashes, a.adapter_uris, a.weights,
    a.adapter_norms)
    with ordinality c(adapter_id, adapter, version, task, sha256, uri, weight, update_norm, rank);
comment on view loradex.merge_components is
    'Adapters of each answer''s recipe with their weights.';
comment on column loradex.merge_components.answer_id is 'the answer';
comment on column loradex.merge_components.rank is '1 is the heaviest';
comment on column loradex.merge_components.adapter_id is 'the adapter';
comment on column loradex.merge_components.adapter is 'its name';
comment on column loradex.merge_components.version is 'its version';
comment on column loradex.merge_components.task is 'its task';
comment on column loradex.merge_components.sha256 is 'its content hash';
comment on column loradex.merge_components.uri is 'where it was found';
comment on column loradex.merge_components.weight is 'its weight in the recipe';
comment on column loradex.merge_components.update_norm is 'Frobenius norm of its own update';
revoke all on loradex.merge_components from public;
grant select on loradex.merge_components to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: views/merge_results.sql
-- Recipe and outcome of each answer's merge.
-- Rights: those of whoever asks, so a client sees its own answers alone.
create or replace view loradex.merge_results with (security_invoker = true) as
select
    a.id as answer_id,
    encode(a.recipe_hash, 'hex')::character(64) as recipe_hash,
    a.method,
    a.merge,
    a.calibrated,
    a.density,
    a.merge_dtype as dtype,
    a.update_norm,
    a.sign_conflict,
    a.merge_milliseconds as milliseconds
from loradex.answers a;
comment on view loradex.merge_results is
    'Recipe and outcome of each answer''s merge.';
comment on column loradex.merge_results.answer_id is 'the answer';
comment on column loradex.merge_results.recipe_hash is 'recipe_hash of merge, calibrated, density, dtype and components, hex';
comment on column loradex.merge_results.method is 'the job''s method';
comment on column loradex.merge_results.merge is 'how the factors became one update';
comment on column loradex.merge_results.calibrated is 'whether it was rescaled to the weighted mean norm of its adapters';
comment on column loradex.merge_results.density is 'share of entries that trimming kept';
comment on column loradex.merge_results.dtype is 'dtype the factors were merged in';
comment on column loradex.merge_results.update_norm is 'Frobenius norm of the merged update';
comment on column loradex.merge_results.sign_conflict is 'share of entries whose signs disagree; null where the method does not look';
comment on column loradex.merge_results.milliseconds is 'time of the merge';
revoke all on loradex.merge_results from public;
grant select on loradex.merge_results to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: views/nucleus_profile.sql
-- How wide the mixtures are.
-- Rights: those of whoever asks.
create or replace view loradex.nucleus_profile with (security_invoker = true) as
select
    a.id as answer_id,
    a.created_at,
    a.method,
    count(c.weight) as adapters,
    coalesce(max(c.weight), 0) as top_weight,
    coalesce(-sum(c.weight * ln(c.weight)) filter (where c.weight > 0), 0) as entropy,
    case when count(c.weight) = 0 then 0
         else exp(coalesce(-sum(c.weight * ln(c.weight)) filter (where c.weight > 0), 0)) end as effective_adapters
from loradex.answers a
left join lateral unnest(a.weights) c(weight) on true
group by a.id, a.created_at, a.method;
comment on view loradex.nucleus_profile is
    'Per answer: how many adapters took part, the heaviest weight, and the entropy of the weights in nats.';
comment on column loradex.nucleus_profile.answer_id is 'the answer';
comment on column loradex.nucleus_profile.created_at is 'when it was recorded';
comment on column loradex.nucleus_profile.method is 'how adapters were mixed';
comment on column loradex.nucleus_profile.adapters is 'how many took part';
comment on column loradex.nucleus_profile.top_weight is 'the heaviest weight; 0 without adapters';
comment on column loradex.nucleus_profile.entropy is 'entropy of the weights in nats';
comment on column loradex.nucleus_profile.effective_adapters is 'exp(entropy): how many equal ones it amounts to';
revoke all on loradex.nucleus_profile from public;
grant select on loradex.nucleus_profile to loradex_reader, loradex_worker, loradex_admin;

-- file: views/queue_health.sql
-- One row: how full the queue is, how long jobs wait, what fails.
-- Rights: those of whoever asks.
create or replace view loradex.queue_health with (security_invoker = true) as
select
    (select count(*) from loradex.jobs j where j.state = 'queued') as queued,
    (select count(*) from loradex.jobs j where j.state = 'running') as running,
    (select count(*) from loradex.jobs j where j.state = 'running' and j.lease_until <= now()) as expired_leases,
    (select extract(epoch from now() - min(j.created_at))::float8 from loradex.jobs j where j.state = 'queued')
        as oldest_waiting_seconds,
    (select count(distinct j.worker) from loradex.jobs j where j.state = 'running' and j.lease_until > now())
        as busy_workers,
    hour.done_last_hour,
    hour.failed_last_hour,
    hour.cancelled_last_hour,
    hour.expired_last_hour,
    hour.median_wait_seconds,
    (select s.value::int from loradex.settings s where s.name = 'max_waiting_jobs') as max_waiting_jobs,
    (select count(distinct b.waiting_pid) from loradex.blocked_sessions() b) as blocked_sessions,
    (select format('%s (%s, process %s, %s) holds %s for %s s', b.blocking_login, b.blocking_program, b.blocking_pid,
                   b.blocking_state, b.waits_for, round(b.blocking_seconds))
     from loradex.blocked_sessions() b order by b.waiting_seconds desc nulls last limit 1) as blocked_by,
    (select count(*) from loradex.living_workers()) as living_workers,
    (select coalesce(sum(q.jobs), 0)::bigint
     from (select j.base_model, j.encoder, count(*) as jobs from loradex.jobs j where j.state = 'queued' group by 1, 2) q
     where not loradex.is_served(q.base_model, q.encoder)) as unserved
from (
    select
        count(*) filter (where j.state = 'done') as done_last_hour,
        count(*) filter (where j.state = 'failed') as failed_last_hour,
        count(*) filter (where j.state = 'cancelled') as cancelled_last_hour,
        count(*) filter (where j.state = 'expired') as expired_last_hour,
        (percentile_cont(0.5) within group (order by extract(epoch from j.started_at - j.created_at)))::float8
            as median_wait_seconds
    from loradex.jobs j
    where j.finished_at > now() - interval '1 hour'
) hour;
comment on view loradex.queue_health is
    'One row: waiting, running and lost jobs, waiting times, and what the last hour did.';
comment on column loradex.queue_health.queued is 'jobs that wait';
comment on column loradex.queue_health.running is 'jobs a worker holds';
comment on column loradex.queue_health.expired_leases is 'of these, those whose worker was lost';
comment on column loradex.queue_health.oldest_waiting_seconds is 'age of the oldest waiting job; null if none waits';
comment on column loradex.queue_health.done_last_hour is 'answers of the last hour';
comment on column loradex.queue_health.failed_last_hour is 'failures of the last hour';
comment on column loradex.queue_health.cancelled_last_hour is 'jobs cancelled in the last hour';
comment on column loradex.queue_health.expired_last_hour is 'jobs that ended at their deadline in the last hour';
comment on column loradex.queue_health.busy_workers is 'workers with a live lease';
comment on column loradex.queue_health.median_wait_seconds is 'median time from arrival to claim, of jobs finished in the last hour';
comment on column loradex.queue_health.max_waiting_jobs is 'how many may wait';
comment on column loradex.queue_health.blocked_sessions is 'sessions that wait for a lock';
comment on column loradex.queue_health.blocked_by is 'who holds the lock that is waited for longest; null if none';
comment on column loradex.queue_health.living_workers is 'workers that gave a sign of life lately (worker_health)';
comment on column loradex.queue_health.unserved is
    'waiting jobs whose base model and encoder no living worker has';
revoke all on loradex.queue_health from public;
grant select on loradex.queue_health to loradex_reader, loradex_worker, loradex_admin;

-- file: views/retrieval_coverage.sql
-- How near the nearest example was to each question: the out-of-domain signal. The edge of the domain is how near
-- examples are to each other (in_domain_similarity), found anew for each encoder when the view is read. Of fewer than
-- two examples there is no edge, and nothing that has a neighbour lies beyond it.
-- Rights: those of whoever asks.
create or replace view loradex.retrieval_coverage with (security_invoker = true) as
with edge as materialized (
    select e.name as encoder, loradex.in_domain_similarity(e.name) as similarity from loradex.encoders e
)
select
    a.id as answer_id,
    a.created_at,
    a.prompt,
    a.encoder,
    a.example_tasks[1] as nearest_task,
    a.similarities[1] as nearest_similarity,
    percent_rank() over (partition by a.encoder order by a.similarities[1] nulls first) as percentile,
    edge.similarity as in_domain_similarity,
    case when a.similarities[1] is null then true
         else coalesce(a.similarities[1] < edge.similarity, false) end as out_of_domain
from loradex.answers a
join edge on edge.encoder = a.encoder;
comment on view loradex.retrieval_coverage is
    'Per answer: similarity of its nearest example, its percentile, and whether it lies out of the library''s domain.';
comment on column loradex.retrieval_coverage.answer_id is 'the answer';
comment on column loradex.retrieval_coverage.created_at is 'when it was recorded';
comment on column loradex.retrieval_coverage.prompt is 'the question';
comment on column loradex.retrieval_coverage.encoder is 'what made the vectors';
comment on column loradex.retrieval_coverage.nearest_task is 'task of the nearest example';
comment on column loradex.retrieval_coverage.nearest_similarity is 'cosine of the nearest example';
comment on column loradex.retrieval_coverage.percentile is 'share of answers that were farther, 0 to 1; 0 where no example was found';
comment on column loradex.retrieval_coverage.in_domain_similarity is 'edge of the domain: 5th percentile among examples themselves; null: there are fewer than two';
comment on column loradex.retrieval_coverage.out_of_domain is 'whether the nearest example lies beyond the edge, or there is none';
revoke all on loradex.retrieval_coverage from public;
grant select on loradex.retrieval_coverage to loradex_reader, loradex_worker, loradex_admin;

-- file: views/retrievals.sql
-- The query vector and the settings of each answer's retrieval.
-- Rights: those of whoever asks, so a client sees its own answers alone.
create or replace view loradex.retrievals with (security_invoker = true) as
select
    a.id as answer_id,
    a.query,
    a.encoder,
    a.encoder_revision,
    a.k,
    a.top_p,
    a.temperature,
    a.exclude_tasks,
    a.exclude_adapters,
    a.routing_milliseconds as milliseconds,
    a.examples_hash
from loradex.answers a;
comment on view loradex.retrievals is
    'Query vector and settings of each answer.';
comment on column loradex.retrievals.answer_id is 'the answer';
comment on column loradex.retrievals.query is 'vector of the prompt';
comment on column loradex.retrievals.encoder is 'what made the vector';
comment on column loradex.retrievals.encoder_revision is 'its revision at that time';
comment on column loradex.retrievals.k is 'neighbours that were asked for';
comment on column loradex.retrievals.top_p is 'probability mass of the nucleus';
comment on column loradex.retrievals.temperature is 'softness of the votes';
comment on column loradex.retrievals.exclude_tasks is 'tasks that were left out';
comment on column loradex.retrievals.exclude_adapters is 'adapters that might not take part';
comment on column loradex.retrievals.milliseconds is 'time of this job''s share of the routing batch';
comment on column loradex.retrievals.examples_hash is 'SHA-256 of its neighbours'' content hashes, by rank, one per line: what their texts were';
revoke all on loradex.retrievals from public;
grant select on loradex.retrievals to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: views/retrieved_examples.sql
-- The neighbours each answer was routed by.
-- Rights: those of whoever asks, so a client sees its own answers alone.
create or replace view loradex.retrieved_examples with (security_invoker = true) as
select a.id as answer_id, n.rank::int as rank, n.example_id, n.source_ref, n.task, n.similarity
from loradex.answers a
cross join lateral unnest(a.example_ids, a.example_refs, a.example_tasks, a.similarities)
    with ordinality n(example_id, source_ref, task, similarity, rank);
comment on view loradex.retrieved_examples is
    'Neighbours of each answer''s query, nearest first.';
comment on column loradex.retrieved_examples.answer_id is 'the answer';
comment on column loradex.retrieved_examples.rank is '1 is the nearest';
comment on column loradex.retrieved_examples.example_id is 'the example';
comment on column loradex.retrieved_examples.source_ref is 'its id in the data set';
comment on column loradex.retrieved_examples.task is 'its task';
comment on column loradex.retrieved_examples.similarity is 'cosine of example and query';
revoke all on loradex.retrieved_examples from public;
grant select on loradex.retrieved_examples to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: views/retrieved_tasks.sql
-- The task distribution each answer was routed by.
-- Rights: those of whoever asks, so a client sees its own answers alone.
create or replace view loradex.retrieved_tasks with (security_invoker = true) as
select a.id as answer_id, t.rank::int as rank, t.task, t.neighbours, t.best_similarity, t.probability, t.weight,
       t.in_nucleus
from loradex.answers a
cross join lateral unnest(
    a.tasks, a.task_neighbours, a.task_similarities, a.probabilities, a.task_weights, a.in_nucleus)
    with ordinality t(task, neighbours, best_similarity, probability, weight, in_nucleus, rank);
comment on view loradex.retrieved_tasks is
    'Task distribution of each answer, before and after truncation.';
comment on column loradex.retrieved_tasks.answer_id is 'the answer';
comment on column loradex.retrieved_tasks.rank is '1 is the likeliest';
comment on column loradex.retrieved_tasks.task is 'the task';
comment on column loradex.retrieved_tasks.neighbours is 'how many neighbours are of this task';
comment on column loradex.retrieved_tasks.best_similarity is 'cosine of its nearest';
comment on column loradex.retrieved_tasks.probability is 'share of the votes; sums to 1';
comment on column loradex.retrieved_tasks.weight is 'share after the cut; sums to 1, 0 outside the nucleus';
comment on column loradex.retrieved_tasks.in_nucleus is 'whether it survived the cut';
revoke all on loradex.retrieved_tasks from public;
grant select on loradex.retrieved_tasks to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- file: views/task_confusion.sql
-- Where the true task is known: which task retrieval put first.
-- Rights: those of whoever asks.
create or replace view loradex.task_confusion with (security_invoker = true) as
select
    j.expected_task,
    a.tasks[1] as top_task,
    count(*) as answers,
    count(*) / sum(count(*)) over (partition by j.expected_task)::float8 as share,
    avg(a.probabilities[1]) as mean_probability
from loradex.jobs j
join loradex.answers a on a.id = j.answer_id
where j.expected_task is not null
group by j.expected_task, a.tasks[1];
comment on view loradex.task_confusion is
    'For answers whose true task is known: how often retrieval put which task first. The diagonal is right.';
comment on column loradex.task_confusion.expected_task is 'true task';
comment on column loradex.task_confusion.top_task is 'task that retrieval put first; null without neighbours';
comment on column loradex.task_confusion.answers is 'how many';
comment on column loradex.task_confusion.share is 'part of the true task; sums to 1';
comment on column loradex.task_confusion.mean_probability is 'mean probability of the first task';
revoke all on loradex.task_confusion from public;
grant select on loradex.task_confusion to loradex_reader, loradex_worker, loradex_admin;

-- file: views/worker_health.sql
-- One row a worker that has announced itself: what it can do, and whether it lives.
-- Rights: those of whoever asks.
create or replace view loradex.worker_health with (security_invoker = true) as
select
    w.name,
    w.name in (select l.name from loradex.living_workers() l) as living,
    extract(epoch from now() - w.seen_at)::float8 as silent_seconds,
    w.base_model,
    w.encoder,
    w.device,
    w.dtype,
    w.batch_rows,
    (select count(*) from loradex.jobs j where j.state = 'running' and j.worker = w.name) as running,
    w.adapter_roots,
    w.versions ->> 'loradex' as version,
    w.versions,
    w.login,
    w.started_at,
    w.seen_at
from loradex.workers w;
comment on view loradex.worker_health is
    'One row a worker: what it can do, what it has in hand, and whether it lives.';
comment on column loradex.worker_health.name is 'host, process and a few random letters';
comment on column loradex.worker_health.living is 'whether it gave a sign of life within worker_silence_seconds';
comment on column loradex.worker_health.silent_seconds is 'since its last sign of life';
comment on column loradex.worker_health.base_model is 'the model whose jobs it takes';
comment on column loradex.worker_health.encoder is 'the encoder whose jobs it takes';
comment on column loradex.worker_health.device is 'where it computes';
comment on column loradex.worker_health.dtype is 'what numbers it computes in';
comment on column loradex.worker_health.batch_rows is 'jobs it answers at once';
comment on column loradex.worker_health.running is 'jobs it holds now';
comment on column loradex.worker_health.adapter_roots is 'directories below which it finds adapters';
comment on column loradex.worker_health.version is 'its version of Loradex';
comment on column loradex.worker_health.versions is 'its programs and their versions';
comment on column loradex.worker_health.login is 'who it is for Postgres';
comment on column loradex.worker_health.started_at is 'when it announced itself first';
comment on column loradex.worker_health.seen_at is 'its last sign of life';
revoke all on loradex.worker_health from public;
grant select on loradex.worker_health to loradex_reader, loradex_worker, loradex_admin;

-- file: grants.sql
-- Who may look at tables, and the few who may write: everything else goes through functions.
revoke all on schema loradex from public;
grant usage on schema loradex to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- The catalogue and the evidence, to look at.
grant select on
    loradex.base_models, loradex.base_model_aliases, loradex.encoders, loradex.tasks, loradex.methods, loradex.settings,
    loradex.adapters, loradex.examples
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
grant select on loradex.example_embeddings, loradex.evaluations, loradex.workers, loradex.erasures,
    loradex.archives
    to loradex_reader, loradex_worker, loradex_admin;
grant select on loradex.jobs, loradex.answers, loradex.feedback
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- The administrator fills the library. Jobs, answers and their evidence are written by functions alone.
grant insert on loradex.examples, loradex.evaluations to loradex_admin;
grant update (prompt, target) on loradex.examples to loradex_admin;
grant delete on loradex.examples, loradex.example_embeddings to loradex_admin;

-- Affinities are part of the catalogue: everybody may look; register_affinity writes.
grant select on loradex.task_affinities to loradex_reader, loradex_client, loradex_worker, loradex_admin;
-- The administrator adds vectors; which of them are near duplicates, group_duplicates alone decides.
grant insert (example_id, encoder, task, embedding) on loradex.example_embeddings to loradex_admin;
-- The administrator draws the map of the examples (loradex map build); who sees vectors sees it.
grant select on loradex.projections, loradex.projected_examples to loradex_reader, loradex_worker, loradex_admin;
grant insert, delete on loradex.projections, loradex.projected_examples to loradex_admin;

-- file: policies.sql
-- Clients see their own jobs and answers; the database user they logged in as decides, whatever role they took on. The
-- partitions of answers need no policies of their own: no role has a right on them.
alter table loradex.jobs enable row level security;
alter table loradex.answers enable row level security;

create policy own_jobs on loradex.jobs for select to loradex_client using (owner_id = (select loradex.current_owner()));
create policy own_answers on loradex.answers for select to loradex_client using (owner_id = (select loradex.current_owner()));
create policy all_rows on loradex.jobs for select to loradex_reader, loradex_worker, loradex_admin using (true);
create policy all_rows on loradex.answers for select to loradex_reader, loradex_worker, loradex_admin using (true);

-- Ratings likewise.
alter table loradex.feedback enable row level security;
create policy own_feedback on loradex.feedback for select to loradex_client
    using (owner_id = (select loradex.current_owner()));
create policy all_rows on loradex.feedback for select to loradex_reader, loradex_worker, loradex_admin using (true);

-- file: public.sql
-- What Postgres lets everybody do that could fill the disk (temporary tables, large objects, messages in the WAL) or the
-- memory in which all sessions keep their locks (advisory locks, any number of them and without a transaction). Taken from
-- PUBLIC in a database that is Loradex's alone, where this user may; in a database with other tables it stays as it is,
-- since others may need it (SECURITY.md says what remains then).
-- Locks: none to speak of. Raises: nothing.
do $$
declare
    filling text;
begin
    if exists (
        select from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and n.nspname <> all (array['loradex', 'pg_catalog', 'information_schema'])
          and n.nspname not like 'pg\_t%'
          and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e'))
    then
        return;
    end if;
    execute format('revoke temporary on database %I from public', current_database());
    for filling in
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'pg_catalog'::regnamespace
          and (p.proname in ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lowrite', 'pg_logical_emit_message')
               or p.proname ~ '^pg_(try_)?advisory_(xact_)?lock')
    loop
        execute format('revoke execute on function %s from public', filling);
    end loop;
exception
    when insufficient_privilege then
        raise notice 'temporary tables, large objects, WAL messages and advisory locks stay open to every login: only a '
            'superuser and owner of the database can take them from PUBLIC';
end
$$;

-- file: rows/methods.sql
-- The only list of methods: `selection` says who takes part, `merge` and `calibrated` how they are mixed. To add a
-- method of known parts, add a row; a new merge also needs its arithmetic (worker/engine/merging.py).
insert into loradex.methods (name, selection, merge, calibrated, description) values
    ('base', 'none', 'cat', false, 'the bare base model'),
    ('own', 'named', 'cat', false, 'the adapter the job names, alone'),
    ('top1', 'first', 'cat', false, 'the adapter of the likeliest task, alone'),
    ('uniform', 'all', 'cat', false, 'all allowed active adapters with equal weights, whatever retrieval says'),
    ('linear', 'nucleus', 'linear', false, 'factors A and B summed with the root of weight times scaling (PEFT linear)'),
    ('cat', 'nucleus', 'cat', false, 'the exact weighted sum of the updates (PEFT cat)'),
    ('ties', 'nucleus', 'ties', false, 'trim, elect the sign by total, disjoint mean (PEFT ties)'),
    ('ties_frequency', 'nucleus', 'ties_frequency', false, 'ties that elects the sign by count'),
    ('magnitude_prune', 'nucleus', 'magnitude_prune', false, 'trim by magnitude, then linear (PEFT magnitude_prune)'),
    ('calibrated_linear', 'nucleus', 'linear', true, 'linear, rescaled to the weighted mean norm of its adapters'),
    ('calibrated_cat', 'nucleus', 'cat', true, 'cat, rescaled to the weighted mean norm of its adapters'),
    ('calibrated_ties', 'nucleus', 'ties', true, 'ties, rescaled to the weighted mean norm of its adapters'),
    ('calibrated_ties_frequency', 'nucleus', 'ties_frequency', true,
        'ties_frequency, rescaled to the weighted mean norm of its adapters'),
    ('calibrated_magnitude_prune', 'nucleus', 'magnitude_prune', true,
        'magnitude_prune, rescaled to the weighted mean norm of its adapters'),
    ('affinity', 'affinity', 'cat', false,
        'the adapters measured to answer best where the neighbours lie, summed as by cat'),
    ('affinity_calibrated_cat', 'affinity', 'cat', true, 'the same adapters, summed and rescaled as by calibrated_cat'),
    ('affinity_linear', 'affinity', 'linear', false, 'the same adapters, merged as by linear'),
    ('affinity_magnitude_prune', 'affinity', 'magnitude_prune', false,
        'the same adapters, merged as by magnitude_prune');

-- file: rows/settings.sql
-- The only declaration of what a job may say (kind `job`: type, default, range), of the limits, and of what routing weighs
-- by for all jobs alike (kind `routing`).
-- To add a setting of a job: a row here, a field in service/client/request.py, and the code that reads it.
insert into loradex.settings (name, kind, type, value, minimum, above, maximum, longest, options, names, description)
values
    ('prompt', 'job', 'text', null, 1, null, 100000, null, null, null, 'the question'),
    ('messages', 'job', 'messages', null, 1, null, 1000, 100000, null, null,
        'a conversation instead of a prompt; its last message is the user''s'),
    ('embedded_messages', 'job', 'text', '"last"', null, null, null, null, '{last,all}', null,
        'which messages neighbours are searched for: the last one, or all'),
    ('kind', 'job', 'text', null, null, null, null, null, '{generate,choose}', null,
        'generate writes text, choose ranks the choices; follows from choices'),
    ('choices', 'job', 'texts', null, 2, null, 256, 100000, null, null, 'answers to rank by log-likelihood'),
    ('method', 'job', 'text', '"affinity_calibrated_cat"', null, null, null, null, null, 'methods',
        'how adapters are chosen and mixed'),
    ('adapter', 'job', 'text', null, null, null, null, null, null, 'adapters', 'the adapter of method own'),
    ('base_model', 'job', 'text', '"smollm2-135m-instruct"', null, null, null, null, null, 'base_models',
        'model that answers'),
    ('encoder', 'job', 'text', '"all-MiniLM-L6-v2"', null, null, null, null, null, 'encoders',
        'encoder for retrieval'),
    ('k', 'job', 'integer', '32', 1, null, 1000, null, null, null, 'neighbours that vote'),
    ('top_p', 'job', 'number', '0.9', null, 0, 1, null, null, null, 'probability mass of the tasks that are mixed'),
    ('temperature', 'job', 'number', '0.1', null, 0, null, null, null, null, 'softness of the neighbours'' votes'),
    ('exclude_tasks', 'job', 'texts', '[]', 0, null, 1000, 100000, null, 'tasks',
        'tasks left out, with their examples and the adapters trained on them'),
    ('exclude_adapters', 'job', 'texts', '[]', 0, null, 1000, 100000, null, 'adapters',
        'adapters that may not take part'),
    ('density', 'job', 'number', '0.5', null, 0, 1, null, null, null, 'share of entries a trimming merge keeps'),
    ('normalization', 'job', 'text', '"tokens"', null, null, null, null, '{none,tokens,bytes}', null,
        'what a choice''s log-likelihood is divided by'),
    ('choice_prior', 'job', 'text', null, null, null, null, null, '{none,history}', null,
        'history takes off each choice what the asker''s latest answers gave it, whatever was asked; left out: none'),
    ('max_new_tokens', 'job', 'integer', '64', 1, null, 2048, null, null, null, 'tokens to write at most'),
    ('min_tokens', 'job', 'integer', null, 0, null, 2048, null, null, null,
        'tokens to write before one that ends the text; left out: 0'),
    ('stop', 'job', 'strings', null, 0, null, 4, 256, null, null,
        'texts that end the answer, which is what stands before the first of them'),
    ('sampling_temperature', 'job', 'number', '0', 0, null, 100, null, null, null,
        '0 writes the likeliest text; above 0 samples; the model''s own goes before this default'),
    ('sampling_top_p', 'job', 'number', '1', null, 0, 1, null, null, null,
        'mass of the tokens sampled from; the model''s own goes before this default'),
    ('sampling_top_k', 'job', 'integer', null, 0, null, 1000000, null, null, null,
        'how many of the likeliest tokens are sampled from; 0: all; left out: the model''s own, or all'),
    ('sampling_min_p', 'job', 'number', null, 0, null, 1, null, null, null,
        'least probability of a token that is sampled, as a share of the likeliest one''s; '
        'left out: the model''s own, or 0'),
    ('repetition_penalty', 'job', 'number', null, 0.01, null, 100, null, null, null,
        'above 1 tokens of prompt and text come less likely again; left out: the model''s own, or 1'),
    ('presence_penalty', 'job', 'number', null, -2, null, 2, null, null, null,
        'taken off the logit of a token that was written; left out: 0'),
    ('frequency_penalty', 'job', 'number', null, -2, null, 2, null, null, null,
        'taken off the logit of a token for each time it was written; left out: 0'),
    ('logit_bias', 'job', 'numbers', null, 0, null, 300, 100, null, null,
        'ids of tokens, and what is added to the logit of each'),
    ('logprobs', 'job', 'integer', null, 0, null, 20, null, null, null,
        'how many of the likeliest tokens are told at each place, beside the one written; left out: nothing is'),
    ('json_schema', 'job', 'text', null, 2, null, 50000, null, null, null,
        'a JSON schema, written as a text, by which the answer is valid JSON'),
    ('regex', 'job', 'text', null, 1, null, 2000, null, null, null,
        'a regular expression that matches the whole answer'),
    ('seed', 'job', 'integer', null, 0, null, 9223372036854775807, null, null, null, 'seed of the sampling'),
    ('stream', 'job', 'boolean', 'false', null, null, null, null, null, null,
        'whether its text is told to listeners while it is written; no answer depends on it'),
    ('traceparent', 'job', 'text', null, 55, null, 55, null, null, null,
        'the W3C trace context that its spans belong to; no answer depends on it'),
    ('expected_task', 'job', 'text', null, null, null, null, null, null, 'tasks',
        'the true task where it is known, for the view task_confusion'),
    ('idempotency_key', 'job', 'text', null, 1, null, 200, null, null, null,
        'enqueuing again with it gives the same job'),
    ('metadata', 'job', 'pairs', null, 0, null, 16, 512, null, null,
        'what the asker notes on it, to find it by; no answer depends on it'),
    ('priority', 'job', 'integer', '0', -32768, null, 32767, null, null, null, 'higher goes first'),
    ('deadline', 'job', 'number', null, null, 0, 31536000, null, null, null,
        'seconds after which it ends as expired instead of being answered'),
    ('max_waiting_jobs', 'limit', 'integer', '100000', 1, null, 100000000, null, null, null,
        'queued jobs; more are refused with LX008'),
    ('max_jobs_per_call', 'limit', 'integer', '10000', 1, null, 1000000, null, null, null,
        'jobs in one call of enqueue_jobs'),
    ('max_call_bytes', 'limit', 'integer', '33554432', 1024, null, 268435456, null, null, null,
        'bytes of the document of one call of enqueue_jobs'),
    ('max_lease_seconds', 'limit', 'integer', '3600', 1, null, 86400, null, null, null,
        'longest lease a worker may ask for'),
    ('max_held_seconds', 'limit', 'integer', '14400', 1, null, 604800, null, null, null,
        'a job that workers held for so long altogether, without an answer, fails'),
    ('worker_silence_seconds', 'limit', 'integer', '20', 10, null, 86400, null, null, null,
        'a worker that is silent for longer counts as gone'),
    ('max_workers', 'limit', 'integer', '1000', 1, null, 1000000, null, null, null,
        'announced workers of one login'),
    ('retention_months', 'limit', 'integer', '24', 1, null, 1200, null, null, null,
        'months that answers stay before loradex archive moves them into files'),
    ('affinity_rows', 'routing', 'integer', '20', 0, null, 1000000, null, null, null,
        'rows at which an affinity counts half; 0: any number counts in full');

-- file: rows/tenant_secret.sql
-- 244 random bits, of this database alone: of each id 122 bits come from the server's strong source. HMAC-SHA-256 fills a
-- key up to a block of 64 bytes with zeros, and changes each byte: by 54 for the inner hash, by 92 for the outer one.
insert into loradex.tenant_secret (inner_key, outer_key)
with fresh as materialized (
    select decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '') || repeat('00', 32), 'hex') as block
)
select decode(string_agg(lpad(to_hex(get_byte(block, place) # 54), 2, '0'), '' order by place), 'hex'),
       decode(string_agg(lpad(to_hex(get_byte(block, place) # 92), 2, '0'), '' order by place), 'hex')
from fresh cross join generate_series(0, 63) place;
