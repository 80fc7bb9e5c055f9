"""Extension, types, tables, the list of methods, roles and row-level security.

Revision ID: 0001
Revises:
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.sqlfiles import frozen_statement

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

VECTOR_IS_USABLE = """
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
$$
"""


class Vector(sa.types.UserDefinedType[object]):
    """pgvector's `vector` of any length, as this revision knows it."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "vector"


def upgrade() -> None:
    op.execute(VECTOR_IS_USABLE)
    op.execute(frozen_statement("0001_types.sql"))
    op.create_table('base_models',
    sa.Column('name', sa.Text(), nullable=False, comment='what jobs and adapters call it'),
    sa.Column('revision', sa.Text(), nullable=False, comment='content hash or hub revision of the weights'),
    sa.Column('context_length', sa.Integer(), nullable=False, comment='tokens of prompt and answer together'),
    sa.Column('frame', sa.Text(), nullable=False, comment='text the model reads, with {prompt} in place of the prompt'),
    sa.Column('created_at', postgresql.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False, comment='when the row was written'),
    sa.CheckConstraint("position('{prompt}' in frame) > 0", name=op.f('base_models_frame_check')),
    sa.CheckConstraint('context_length > 0', name=op.f('base_models_context_length_check')),
    sa.PrimaryKeyConstraint('name', name=op.f('base_models_pkey')),
    schema='loradex',
    comment='Causal language models that adapters were trained for.'
    )
    op.create_table('encoders',
    sa.Column('name', sa.Text(), nullable=False, comment='what jobs and vectors call it'),
    sa.Column('revision', sa.Text(), nullable=False, comment='content hash or hub revision of the weights'),
    sa.Column('dimensions', sa.Integer(), nullable=False, comment='length of its vectors'),
    sa.Column('created_at', postgresql.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False, comment='when the row was written'),
    sa.CheckConstraint('dimensions between 1 and 2000', name=op.f('encoders_dimensions_check')),
    sa.PrimaryKeyConstraint('name', name=op.f('encoders_pkey')),
    schema='loradex',
    comment='Sentence encoders; each has one partial HNSW index on example_embeddings.'
    )
    op.create_table('evaluations',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False, comment='internal id'),
    sa.Column('run', sa.Text(), nullable=False, comment='the run all its rows share'),
    sa.Column('setting', sa.Text(), nullable=False, comment='such as in-domain or out-of-domain'),
    sa.Column('method', sa.Text(), nullable=False, comment='how adapters were mixed'),
    sa.Column('settings', postgresql.JSONB(astext_type=sa.Text()), server_default='{}', nullable=False, comment='k, top_p, temperature, density, seed, ...'),
    sa.Column('task', sa.Text(), nullable=False, comment='task that was scored'),
    sa.Column('n', sa.Integer(), nullable=False, comment='questions asked'),
    sa.Column('score', sa.Double(), nullable=False, comment='share answered right'),
    sa.Column('low', sa.Double(), nullable=False, comment='lower end of the confidence interval'),
    sa.Column('high', sa.Double(), nullable=False, comment='upper end of the confidence interval'),
    sa.Column('seconds', sa.Double(), nullable=False, comment='time of this row'),
    sa.Column('git_revision', sa.Text(), nullable=False, comment='revision of the code'),
    sa.Column('library_hash', sa.Text(), nullable=False, comment='hash of the library that answered'),
    sa.Column('created_at', postgresql.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False, comment='when the row was written'),
    sa.CheckConstraint('n > 0', name=op.f('evaluations_n_check')),
    sa.PrimaryKeyConstraint('id', name=op.f('evaluations_pkey')),
    schema='loradex',
    comment='Scores of evaluation runs; rows are added, never changed.'
    )
    op.create_index('evaluations_run_index', 'evaluations', ['run'], unique=False, schema='loradex')
    op.create_table('limits',
    sa.Column('singleton', sa.Boolean(), server_default=sa.text('true'), nullable=False, comment='always true: there is one row'),
    sa.Column('max_waiting_jobs', sa.Integer(), server_default=sa.text('100000'), nullable=False, comment='queued jobs; more are refused with LX008'),
    sa.Column('max_jobs_per_call', sa.Integer(), server_default=sa.text('10000'), nullable=False, comment='jobs in one call of enqueue_jobs'),
    sa.Column('max_prompt_characters', sa.Integer(), server_default=sa.text('100000'), nullable=False, comment='length of a prompt; the worker also counts tokens'),
    sa.Column('max_choices', sa.Integer(), server_default=sa.text('256'), nullable=False, comment='choices of one job'),
    sa.Column('max_new_tokens', sa.Integer(), server_default=sa.text('2048'), nullable=False, comment='tokens one job may generate'),
    sa.CheckConstraint('least(max_waiting_jobs, max_jobs_per_call, max_prompt_characters, max_choices, max_new_tokens) > 0', name=op.f('limits_positive_check')),
    sa.CheckConstraint('singleton', name=op.f('limits_singleton_check')),
    sa.PrimaryKeyConstraint('singleton', name=op.f('limits_pkey')),
    schema='loradex',
    comment='How much the queue takes: one row, which loradex_admin may update.'
    )
    op.create_table('methods',
    sa.Column('name', sa.Text(), nullable=False, comment='what jobs call it'),
    sa.Column('adapters', sa.Text(), nullable=False, comment='which adapters take part: none, named (by the job), first, all (alike), nucleus (by weight)'),
    sa.Column('description', sa.Text(), nullable=False, comment='what it does to their factors'),
    sa.CheckConstraint("adapters in ('none', 'named', 'first', 'all', 'nucleus')", name=op.f('methods_adapters_check')),
    sa.PrimaryKeyConstraint('name', name=op.f('methods_pkey')),
    schema='loradex',
    comment='Ways to compose adapters: the only list of them.'
    )
    op.create_table('tasks',
    sa.Column('name', sa.Text(), nullable=False, comment='such as rte'),
    sa.Column('family', sa.Text(), nullable=False, comment='such as nli'),
    sa.Column('metric', sa.Text(), nullable=False, comment='accuracy or exact_match'),
    sa.Column('card', postgresql.JSONB(astext_type=sa.Text()), server_default='{}', nullable=False, comment='the task card'),
    sa.Column('created_at', postgresql.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False, comment='when the row was written'),
    sa.PrimaryKeyConstraint('name', name=op.f('tasks_pkey')),
    schema='loradex',
    comment='Data sets that examples come from and adapters were trained on.'
    )
    op.create_table('adapters',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False, comment='internal id'),
    sa.Column('name', sa.Text(), nullable=False, comment='what people call it, the same for all versions'),
    sa.Column('version', sa.Integer(), nullable=False, comment='1, 2, ... within the name'),
    sa.Column('task', sa.Text(), nullable=False, comment='task it was trained on'),
    sa.Column('base_model', sa.Text(), nullable=False, comment='model it was trained for'),
    sa.Column('sha256', sa.CHAR(length=64), nullable=False, comment='content hash of its two files, hex'),
    sa.Column('uri', sa.Text(), nullable=False, comment='where a worker finds the directory'),
    sa.Column('rank', sa.Integer(), nullable=False, comment='LoRA rank r'),
    sa.Column('alpha', sa.Double(), nullable=False, comment='LoRA alpha; scaling is alpha / r'),
    sa.Column('target_modules', postgresql.ARRAY(sa.Text()), nullable=False, comment='names of the layers it updates'),
    sa.Column('dtype', sa.Text(), nullable=False, comment='dtype of its tensors on disk'),
    sa.Column('parameters', sa.BigInteger(), nullable=False, comment='numbers in its tensors'),
    sa.Column('update_norm', sa.Double(), nullable=False, comment='Frobenius norm of its whole update'),
    sa.Column('state', sa.Text(), server_default=sa.text("'active'"), nullable=False, comment='active or retired'),
    sa.Column('card', postgresql.JSONB(astext_type=sa.Text()), server_default='{}', nullable=False, comment='how it was trained'),
    sa.Column('registered_at', postgresql.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False, comment='when it was registered'),
    sa.Column('retired_at', postgresql.TIMESTAMP(timezone=True), nullable=True, comment='when it was retired; null while active'),
    sa.CheckConstraint("(state = 'retired') = (retired_at is not null)", name=op.f('adapters_retired_at_check')),
    sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f('adapters_sha256_check')),
    sa.CheckConstraint("state in ('active', 'retired')", name=op.f('adapters_state_check')),
    sa.CheckConstraint('version > 0 and rank > 0 and parameters > 0', name=op.f('adapters_positive_check')),
    sa.ForeignKeyConstraint(['base_model'], ['loradex.base_models.name'], name=op.f('adapters_base_model_fkey')),
    sa.ForeignKeyConstraint(['task'], ['loradex.tasks.name'], name=op.f('adapters_task_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('adapters_pkey')),
    sa.UniqueConstraint('base_model', 'task', 'sha256', name=op.f('adapters_base_model_task_sha256_key')),
    sa.UniqueConstraint('name', 'version', name=op.f('adapters_name_version_key')),
    schema='loradex',
    comment='LoRA adapters; only state and retired_at ever change, and at most one a task is active.'
    )
    op.create_index('adapters_one_active_index', 'adapters', ['base_model', 'task'], unique=True, schema='loradex', postgresql_where=sa.text("state = 'active'"))
    op.create_table('examples',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False, comment='internal id'),
    sa.Column('task', sa.Text(), nullable=False, comment='task it belongs to'),
    sa.Column('source_ref', sa.Text(), nullable=False, comment='its id in the data set, such as rte-train-511'),
    sa.Column('prompt', sa.Text(), nullable=True, comment='rendered prompt, the text that was embedded'),
    sa.Column('target', sa.Text(), nullable=True, comment='right answer'),
    sa.Column('sha256', sa.CHAR(length=64), nullable=False, comment='SHA-256 of prompt, 0x1f, target in UTF-8, hex'),
    sa.Column('created_at', postgresql.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False, comment='when the row was written'),
    sa.CheckConstraint("prompt is null or sha256 = encode(sha256(convert_to(prompt || E'\\x1f' || coalesce(target, ''), 'UTF8')), 'hex')", name=op.f('examples_sha256_check')),
    sa.CheckConstraint('(prompt is null) = (target is null)', name=op.f('examples_text_check')),
    sa.ForeignKeyConstraint(['task'], ['loradex.tasks.name'], name=op.f('examples_task_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('examples_pkey')),
    sa.UniqueConstraint('id', 'task', name=op.f('examples_id_task_key')),
    sa.UniqueConstraint('task', 'source_ref', name=op.f('examples_task_source_ref_key')),
    schema='loradex',
    comment='Training examples; prompt and target are null until hydrated from the source.'
    )
    op.create_table('jobs',
    sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False, comment='the job'),
    sa.Column('owner', sa.Text(), server_default=sa.text('session_user'), nullable=False, comment='database user who asked'),
    sa.Column('kind', sa.Text(), nullable=False, comment='generate (text) or choose (rank the choices)'),
    sa.Column('prompt', sa.Text(), nullable=False, comment="the question, without the base model's frame"),
    sa.Column('choices', postgresql.ARRAY(sa.Text()), nullable=True, comment='answers to rank, for choose'),
    sa.Column('base_model', sa.Text(), nullable=False, comment='model that answers'),
    sa.Column('encoder', sa.Text(), nullable=False, comment='encoder for retrieval'),
    sa.Column('method', sa.Text(), nullable=False, comment='how adapters are mixed'),
    sa.Column('adapter', sa.Text(), nullable=True, comment='the adapter of method own'),
    sa.Column('k', sa.Integer(), nullable=False, comment='neighbours that vote'),
    sa.Column('top_p', sa.Double(), nullable=False, comment='probability mass of the tasks that are mixed'),
    sa.Column('temperature', sa.Double(), nullable=False, comment="softness of the neighbours' votes"),
    sa.Column('density', sa.Double(), nullable=False, comment='share of entries that trimming methods keep'),
    sa.Column('exclude_tasks', postgresql.ARRAY(sa.Text()), nullable=False, comment='tasks whose examples are not looked at'),
    sa.Column('exclude_adapters', postgresql.ARRAY(sa.Text()), nullable=False, comment='adapters that may not take part'),
    sa.Column('normalization', sa.Text(), nullable=False, comment="what a choice's log-likelihood is divided by"),
    sa.Column('max_new_tokens', sa.Integer(), nullable=False, comment='tokens to generate at most'),
    sa.Column('sampling_temperature', sa.Double(), nullable=False, comment='0 is greedy'),
    sa.Column('sampling_top_p', sa.Double(), nullable=False, comment='nucleus of the token sampler'),
    sa.Column('seed', sa.BigInteger(), nullable=True, comment='seed of the token sampler'),
    sa.Column('expected_task', sa.Text(), nullable=True, comment='true task where known'),
    sa.Column('idempotency_key', sa.Text(), nullable=True, comment='asking again with it gives this job'),
    sa.Column('priority', sa.SmallInteger(), server_default=sa.text('0'), nullable=False, comment='higher goes first'),
    sa.Column('queue_position', sa.BigInteger(), sa.Identity(always=True), nullable=False, comment='order of arrival'),
    sa.Column('state', sa.Text(), server_default=sa.text("'queued'"), nullable=False, comment='queued, running, done or failed'),
    sa.Column('attempt', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='times claimed; fences off late writes'),
    sa.Column('releases', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='times given back unharmed; these attempts do not count'),
    sa.Column('lease_until', postgresql.TIMESTAMP(timezone=True), nullable=True, comment='when others may claim a running job'),
    sa.Column('worker', sa.Text(), nullable=True, comment='who claimed it last'),
    sa.Column('error_code', sa.Text(), nullable=True, comment='why it failed, for programs'),
    sa.Column('error_message', sa.Text(), nullable=True, comment='why it failed, for people'),
    sa.Column('created_at', postgresql.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False, comment='when it was accepted'),
    sa.Column('started_at', postgresql.TIMESTAMP(timezone=True), nullable=True, comment='when it was claimed last'),
    sa.Column('finished_at', postgresql.TIMESTAMP(timezone=True), nullable=True, comment='when it was done or failed'),
    sa.CheckConstraint("(kind = 'choose') = (choices is not null)", name=op.f('jobs_choices_check')),
    sa.CheckConstraint("(state = 'failed') = (error_code is not null)", name=op.f('jobs_error_check')),
    sa.CheckConstraint("(state = 'running') = (lease_until is not null)", name=op.f('jobs_lease_check')),
    sa.CheckConstraint("kind in ('generate', 'choose')", name=op.f('jobs_kind_check')),
    sa.CheckConstraint("normalization in ('none', 'tokens', 'bytes')", name=op.f('jobs_normalization_check')),
    sa.CheckConstraint("state in ('queued', 'running', 'done', 'failed')", name=op.f('jobs_state_check')),
    sa.ForeignKeyConstraint(['base_model'], ['loradex.base_models.name'], name=op.f('jobs_base_model_fkey')),
    sa.ForeignKeyConstraint(['encoder'], ['loradex.encoders.name'], name=op.f('jobs_encoder_fkey')),
    sa.ForeignKeyConstraint(['expected_task'], ['loradex.tasks.name'], name=op.f('jobs_expected_task_fkey')),
    sa.ForeignKeyConstraint(['method'], ['loradex.methods.name'], name=op.f('jobs_method_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('jobs_pkey')),
    schema='loradex',
    comment='Questions and how far they are; only the queue functions write here.'
    )
    op.create_index('jobs_created_at_index', 'jobs', ['created_at'], unique=False, schema='loradex')
    op.create_index('jobs_idempotency_index', 'jobs', ['owner', 'idempotency_key'], unique=True, schema='loradex', postgresql_where=sa.text('idempotency_key is not null'))
    op.create_index('jobs_queued_index', 'jobs', [sa.literal_column('priority desc'), 'queue_position'], unique=False, schema='loradex', postgresql_where=sa.text("state = 'queued'"))
    op.create_index('jobs_running_index', 'jobs', ['lease_until'], unique=False, schema='loradex', postgresql_where=sa.text("state = 'running'"))
    op.create_table('answers',
    sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False, comment='the answer'),
    sa.Column('job_id', sa.Uuid(), nullable=False, comment='the job it answers; one answer a job'),
    sa.Column('owner', sa.Text(), nullable=False, comment='database user who asked'),
    sa.Column('attempt', sa.Integer(), nullable=False, comment='which attempt at the job succeeded'),
    sa.Column('position', sa.BigInteger(), nullable=False, comment='place in the chain, 1, 2, ... no gaps'),
    sa.Column('prompt', sa.Text(), nullable=False, comment='the question as it was asked'),
    sa.Column('text', sa.Text(), nullable=False, comment="the answer's text"),
    sa.Column('choice', sa.Text(), nullable=True, comment='the choice that won, for choose'),
    sa.Column('scores', postgresql.ARRAY(sa.DOUBLE_PRECISION()), nullable=True, comment="score of each choice, in the job's order"),
    sa.Column('token_ids', postgresql.ARRAY(sa.Integer()), nullable=False, comment='tokens of the answer'),
    sa.Column('prompt_tokens', sa.Integer(), nullable=False, comment='tokens of the framed prompt'),
    sa.Column('output_tokens', sa.Integer(), nullable=False, comment='tokens of the answer'),
    sa.Column('base_model', sa.Text(), nullable=False, comment='model that answered'),
    sa.Column('base_model_revision', sa.Text(), nullable=False, comment='its revision as the worker found it'),
    sa.Column('generation', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='generation settings, seed, frame, device, dtype'),
    sa.Column('timings', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='milliseconds of every stage'),
    sa.Column('versions', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='versions of the programs that took part'),
    sa.Column('worker', sa.Text(), nullable=False, comment='who answered'),
    sa.Column('created_at', postgresql.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False, comment='when it was recorded'),
    sa.Column('previous_hash', postgresql.BYTEA(), nullable=False, comment='chain_hash of the answer before; zeros for the first'),
    sa.Column('chain_hash', postgresql.BYTEA(), nullable=False, comment='SHA-256 of previous_hash and answer_canonical(id)'),
    sa.ForeignKeyConstraint(['job_id'], ['loradex.jobs.id'], name=op.f('answers_job_id_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('answers_pkey')),
    sa.UniqueConstraint('chain_hash', name=op.f('answers_chain_hash_key')),
    sa.UniqueConstraint('job_id', name=op.f('answers_job_id_key')),
    sa.UniqueConstraint('position', name=op.f('answers_position_key')),
    schema='loradex',
    comment='Answers, append-only and hash-chained; with their child tables they are the evidence.'
    )
    op.create_index('answers_created_at_index', 'answers', ['created_at'], unique=False, schema='loradex')
    op.create_index('answers_owner_index', 'answers', ['owner'], unique=False, schema='loradex')
    op.create_table('example_embeddings',
    sa.Column('example_id', sa.BigInteger(), nullable=False, comment='the example'),
    sa.Column('encoder', sa.Text(), nullable=False, comment='what made the vector'),
    sa.Column('task', sa.Text(), nullable=False, comment="the example's task, repeated for filters"),
    sa.Column('embedding', Vector(), nullable=False, comment='the vector of the prompt'),
    sa.CheckConstraint('vector_norm(embedding) between 1e-6 and 1e6', name=op.f('example_embeddings_direction_check')),
    sa.ForeignKeyConstraint(['encoder'], ['loradex.encoders.name'], name=op.f('example_embeddings_encoder_fkey')),
    sa.ForeignKeyConstraint(['example_id', 'task'], ['loradex.examples.id', 'loradex.examples.task'], name=op.f('example_embeddings_example_id_task_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('example_id', 'encoder', name=op.f('example_embeddings_pkey')),
    schema='loradex',
    comment='Vectors of examples; one partial HNSW cosine index an encoder (see register_encoder).'
    )
    op.create_index('example_embeddings_encoder_task_index', 'example_embeddings', ['encoder', 'task'], unique=False, schema='loradex')
    op.create_table('merge_components',
    sa.Column('answer_id', sa.Uuid(), nullable=False, comment='the answer'),
    sa.Column('rank', sa.Integer(), nullable=False, comment='1 is the heaviest'),
    sa.Column('adapter_id', sa.BigInteger(), nullable=False, comment='the adapter'),
    sa.Column('adapter', sa.Text(), nullable=False, comment='its name'),
    sa.Column('version', sa.Integer(), nullable=False, comment='its version'),
    sa.Column('task', sa.Text(), nullable=False, comment='its task'),
    sa.Column('sha256', sa.CHAR(length=64), nullable=False, comment='its content hash'),
    sa.Column('uri', sa.Text(), nullable=False, comment='where it was found'),
    sa.Column('weight', sa.Double(), nullable=False, comment='its weight in the recipe'),
    sa.Column('update_norm', sa.Double(), nullable=True, comment='Frobenius norm of its own update'),
    sa.ForeignKeyConstraint(['answer_id'], ['loradex.answers.id'], name=op.f('merge_components_answer_id_fkey'), initially='DEFERRED', deferrable=True),
    sa.PrimaryKeyConstraint('answer_id', 'rank', name=op.f('merge_components_pkey')),
    schema='loradex',
    comment="Adapters of each answer's recipe with their weights; append-only."
    )
    op.create_index('merge_components_adapter_id_index', 'merge_components', ['adapter_id'], unique=False, schema='loradex')
    op.create_table('merge_results',
    sa.Column('answer_id', sa.Uuid(), nullable=False, comment='the answer'),
    sa.Column('recipe_hash', sa.CHAR(length=64), nullable=False, comment='SHA-256 of the canonical recipe, hex'),
    sa.Column('method', sa.Text(), nullable=False, comment="the job's method"),
    sa.Column('density', sa.Double(), nullable=False, comment='share of entries that trimming kept'),
    sa.Column('dtype', sa.Text(), nullable=False, comment='dtype the factors were merged in'),
    sa.Column('update_norm', sa.Double(), nullable=False, comment='Frobenius norm of the merged update'),
    sa.Column('sign_conflict', sa.Double(), nullable=True, comment='share of entries whose signs disagree; null where the method does not look'),
    sa.Column('milliseconds', sa.Double(), nullable=False, comment='time of the merge'),
    sa.ForeignKeyConstraint(['answer_id'], ['loradex.answers.id'], name=op.f('merge_results_answer_id_fkey'), initially='DEFERRED', deferrable=True),
    sa.PrimaryKeyConstraint('answer_id', name=op.f('merge_results_pkey')),
    schema='loradex',
    comment="Recipe and outcome of each answer's merge; append-only."
    )
    op.create_index('merge_results_method_index', 'merge_results', ['method'], unique=False, schema='loradex')
    op.create_table('retrievals',
    sa.Column('answer_id', sa.Uuid(), nullable=False, comment='the answer'),
    sa.Column('query', Vector(), nullable=False, comment='vector of the prompt'),
    sa.Column('encoder', sa.Text(), nullable=False, comment='what made the vector'),
    sa.Column('encoder_revision', sa.Text(), nullable=False, comment='its revision at that time'),
    sa.Column('k', sa.Integer(), nullable=False, comment='neighbours that were asked for'),
    sa.Column('top_p', sa.Double(), nullable=False, comment='probability mass of the nucleus'),
    sa.Column('temperature', sa.Double(), nullable=False, comment='softness of the votes'),
    sa.Column('exclude_tasks', postgresql.ARRAY(sa.Text()), nullable=False, comment='tasks that were not looked at'),
    sa.Column('exclude_adapters', postgresql.ARRAY(sa.Text()), nullable=False, comment='adapters that might not take part'),
    sa.Column('milliseconds', sa.Double(), nullable=False, comment="time of this job's share of the routing batch"),
    sa.ForeignKeyConstraint(['answer_id'], ['loradex.answers.id'], name=op.f('retrievals_answer_id_fkey'), initially='DEFERRED', deferrable=True),
    sa.PrimaryKeyConstraint('answer_id', name=op.f('retrievals_pkey')),
    schema='loradex',
    comment='Query vector and settings of each answer; append-only.'
    )
    op.create_table('retrieved_examples',
    sa.Column('answer_id', sa.Uuid(), nullable=False, comment='the answer'),
    sa.Column('rank', sa.Integer(), nullable=False, comment='1 is the nearest'),
    sa.Column('example_id', sa.BigInteger(), nullable=False, comment='the example'),
    sa.Column('source_ref', sa.Text(), nullable=False, comment='its id in the data set'),
    sa.Column('task', sa.Text(), nullable=False, comment='its task'),
    sa.Column('similarity', sa.Double(), nullable=False, comment='cosine of example and query'),
    sa.ForeignKeyConstraint(['answer_id'], ['loradex.answers.id'], name=op.f('retrieved_examples_answer_id_fkey'), initially='DEFERRED', deferrable=True),
    sa.PrimaryKeyConstraint('answer_id', 'rank', name=op.f('retrieved_examples_pkey')),
    schema='loradex',
    comment="Neighbours of each answer's query, nearest first; append-only."
    )
    op.create_index('retrieved_examples_example_id_index', 'retrieved_examples', ['example_id'], unique=False, schema='loradex')
    op.create_table('retrieved_tasks',
    sa.Column('answer_id', sa.Uuid(), nullable=False, comment='the answer'),
    sa.Column('rank', sa.Integer(), nullable=False, comment='1 is the likeliest'),
    sa.Column('task', sa.Text(), nullable=False, comment='the task'),
    sa.Column('neighbours', sa.Integer(), nullable=False, comment='how many neighbours are of this task'),
    sa.Column('best_similarity', sa.Double(), nullable=False, comment='cosine of its nearest'),
    sa.Column('probability', sa.Double(), nullable=False, comment='share of the votes; sums to 1'),
    sa.Column('weight', sa.Double(), nullable=False, comment='share after the cut; sums to 1, 0 outside the nucleus'),
    sa.Column('in_nucleus', sa.Boolean(), nullable=False, comment='whether it survived the cut'),
    sa.ForeignKeyConstraint(['answer_id'], ['loradex.answers.id'], name=op.f('retrieved_tasks_answer_id_fkey'), initially='DEFERRED', deferrable=True),
    sa.PrimaryKeyConstraint('answer_id', 'rank', name=op.f('retrieved_tasks_pkey')),
    schema='loradex',
    comment='Task distribution of each answer, before and after truncation; append-only.'
    )
    op.create_index('retrieved_tasks_task_index', 'retrieved_tasks', ['task'], unique=False, schema='loradex')
    op.execute(frozen_statement("0001_methods.sql"))
    op.execute(frozen_statement("0001_roles.sql"))


def downgrade() -> None:
    op.drop_index('retrieved_tasks_task_index', table_name='retrieved_tasks', schema='loradex')
    op.drop_table('retrieved_tasks', schema='loradex')
    op.drop_index('retrieved_examples_example_id_index', table_name='retrieved_examples', schema='loradex')
    op.drop_table('retrieved_examples', schema='loradex')
    op.drop_table('retrievals', schema='loradex')
    op.drop_index('merge_results_method_index', table_name='merge_results', schema='loradex')
    op.drop_table('merge_results', schema='loradex')
    op.drop_index('merge_components_adapter_id_index', table_name='merge_components', schema='loradex')
    op.drop_table('merge_components', schema='loradex')
    op.drop_index('example_embeddings_encoder_task_index', table_name='example_embeddings', schema='loradex')
    op.drop_table('example_embeddings', schema='loradex')
    op.drop_index('answers_owner_index', table_name='answers', schema='loradex')
    op.drop_index('answers_created_at_index', table_name='answers', schema='loradex')
    op.drop_table('answers', schema='loradex')
    op.drop_index('jobs_running_index', table_name='jobs', schema='loradex', postgresql_where=sa.text("state = 'running'"))
    op.drop_index('jobs_queued_index', table_name='jobs', schema='loradex', postgresql_where=sa.text("state = 'queued'"))
    op.drop_index('jobs_idempotency_index', table_name='jobs', schema='loradex', postgresql_where=sa.text('idempotency_key is not null'))
    op.drop_index('jobs_created_at_index', table_name='jobs', schema='loradex')
    op.drop_table('jobs', schema='loradex')
    op.drop_table('examples', schema='loradex')
    op.drop_index('adapters_one_active_index', table_name='adapters', schema='loradex', postgresql_where=sa.text("state = 'active'"))
    op.drop_table('adapters', schema='loradex')
    op.drop_table('tasks', schema='loradex')
    op.drop_table('methods', schema='loradex')
    op.drop_table('limits', schema='loradex')
    op.drop_index('evaluations_run_index', table_name='evaluations', schema='loradex')
    op.drop_table('evaluations', schema='loradex')
    op.drop_table('encoders', schema='loradex')
    op.drop_table('base_models', schema='loradex')
    op.execute("drop type loradex.neighbour")
    op.execute("drop type loradex.route_request")
    # The schema stays, since Alembic's own table lies in it; so do the extension and the roles, which others may use.
