"""What every SQL function promises beside its rows: who may call it, what it refuses, how much it reads."""

from dataclasses import dataclass

READERS = frozenset({"loradex_reader", "loradex_worker", "loradex_admin"})
EVERYBODY = READERS | {"loradex_client"}
WORKER = frozenset({"loradex_worker"})
ADMIN = frozenset({"loradex_admin"})
CLIENT = frozenset({"loradex_client"})
ASKERS = frozenset({"loradex_client", "loradex_admin"})
OWNER: frozenset[str] = frozenset()

# What `fix_many` holds.
EXAMPLES, ANSWERS, WAITING = 12200, 3000, 300
# Rows a search of 16 to 32 neighbours may read: it looks at about 100 candidates.
SEARCH = 200
# Rows of one answer: it, its job, and its 32 neighbours in the library, read no more than twice.
ANSWER = 80
# Rows of the queue: the job, and what it refers to. (enqueue_jobs also counts those that wait, twice.)
JOB = 12


@dataclass(frozen=True)
class Refusal:
    """A call with a bad argument, and the SQLSTATE it is refused with."""

    call: str
    sqlstate: str


@dataclass(frozen=True)
class Reads:
    """A call, and how many rows of jobs, examples and answers it may read; `PLACES` fills in its names."""

    call: str
    rows: int


@dataclass(frozen=True)
class Contract:
    """A text in place of a refusal or of rows says why there is none."""

    roles: frozenset[str]
    refuses: Refusal | str
    reads: Reads | str


PLACES = {
    "query": "(select query from loradex.retrievals order by answer_id limit 1)",
    "answer": "(select id from loradex.answers where position = 150)",
    "job": "(select id from loradex.jobs where state = 'queued' order by queue_position limit 1)",
    "running": "(select id from loradex.jobs where state = 'running' order by queue_position limit 1)",
    "example": (
        "(select example_id from loradex.retrieved_examples group by 1 order by count(*), 1 limit 1)"
    ),
    "request": (
        "(select array[row(1, query, 16, 0.9, 0.1, '{}', 'smollm2-135m-instruct', '{}', null)"
        "::loradex.route_request] from loradex.retrievals order by answer_id limit 1)"
    ),
}
"""Looked up before the rows are counted."""

GIVEN = "its callers have judged the arguments"
ROW = "it takes a row of a table, which is never a bad one"
CATALOGUE = "it reads the catalogue by its keys"
ARGUMENTS = "it looks at its arguments and at the catalogue"
HYGIENE = "it reads example_neighbours and each example once, to look at all of them"

CONTRACTS = {
    "activate_adapter": Contract(OWNER, Refusal("select loradex.activate_adapter(1, 2)", "LX001"), CATALOGUE),
    "alias_base_model": Contract(
        ADMIN, Refusal("select loradex.alias_base_model('b', 'nobody')", "LX002"), CATALOGUE
    ),
    "adapter_draw": Contract(READERS, "any job may draw", "it reads no table"),
    "adapter_mixture": Contract(
        READERS,
        Refusal("select loradex.adapter_mixture('[1]', 'gpt')", "LX002"),
        Reads("select loradex.adapter_mixture({query}, 'smollm2-135m-instruct')", SEARCH),
    ),
    "adapter_mixtures": Contract(
        READERS,
        Refusal("select loradex.adapter_mixtures(array['[1]'::vector], 'gpt')", "LX002"),
        Reads(
            "select loradex.adapter_mixtures(array[{query}, {query}], 'smollm2-135m-instruct')", 2 * SEARCH
        ),
    ),
    "affinity_mixture": Contract(
        READERS,
        Refusal("select loradex.affinity_mixture('[1]', 'gpt')", "LX002"),
        Reads("select loradex.affinity_mixture({query}, 'smollm2-135m-instruct')", SEARCH),
    ),
    "answer_commitments": Contract(EVERYBODY, ROW, "it reads no table"),
    "answer_erasable": Contract(EVERYBODY, ROW, "it reads no table"),
    "choice_form": Contract(EVERYBODY, "any text has a form", "it reads no table"),
    "framed_text": Contract(EVERYBODY, ROW, "it reads no table"),
    "announce_worker": Contract(
        WORKER,
        Refusal("select loradex.announce_worker('w', 'b', 'e', 'cpu', '', '{{}}', 1, '{{}}')", "LX001"),
        "it reads the announced workers",
    ),
    "answer_canonical": Contract(
        EVERYBODY,
        ROW,
        Reads("select loradex.answer_canonical(a) from loradex.answers a where id = {answer}", ANSWER),
    ),
    "answer_document": Contract(
        EVERYBODY,
        ROW,
        Reads("select loradex.answer_document(a) from loradex.answers a where id = {answer}", ANSWER),
    ),
    "answer_hash": Contract(
        EVERYBODY,
        ROW,
        Reads("select loradex.answer_hash(a) from loradex.answers a where id = {answer}", ANSWER),
    ),
    "archivable": Contract(ADMIN, "any moment can be asked for", Reads("select loradex.archivable()", 2)),
    "archive_canonical": Contract(READERS, ROW, "it reads no table"),
    "ask_embeddings": Contract(ASKERS, Refusal("select loradex.ask_embeddings('{{}}')", "LX001"), CATALOGUE),
    "ask_replay": Contract(
        ASKERS,
        Refusal("select loradex.ask_replay('00000000-0000-0000-0000-000000000000')", "LX004"),
        "it reads one answer by its id",
    ),
    "audit_head": Contract(READERS, "it takes nothing", Reads("select loradex.audit_head()", 1)),
    "blocked_sessions": Contract(READERS, "it takes nothing", "it reads no table"),
    "authenticate": Contract(
        CLIENT, Refusal("select loradex.authenticate('lx_nobody')", "42501"), "it finds the key by its hash"
    ),
    "build_encoder_index": Contract(
        ADMIN, Refusal("select loradex.build_encoder_index('nobody')", "LX002"), "it indexes every vector"
    ),
    "build_search": Contract(ADMIN, "it takes nothing", CATALOGUE),
    "change_setting": Contract(ADMIN, Refusal("select loradex.change_setting('k', '0')", "LX001"), CATALOGUE),
    "cancel_job": Contract(
        ASKERS,
        Refusal("select loradex.cancel_job(gen_random_uuid())", "LX003"),
        Reads("select loradex.cancel_job({job})", JOB),
    ),
    "cancel_jobs": Contract(
        ASKERS,
        Refusal("select loradex.cancel_jobs(array[gen_random_uuid()])", "LX003"),
        Reads("select loradex.cancel_jobs(array[{job}, {running}])", 2 * JOB),
    ),
    "check_answer": Contract(
        OWNER, Refusal("select loradex.check_answer(null::loradex.jobs, '{{}}', '3')", "LX001"), ARGUMENTS
    ),
    "check_call_size": Contract(
        ASKERS, Refusal("select loradex.check_call_size(1000000000)", "LX001"), "it reads a setting"
    ),
    "check_jobs": Contract(
        OWNER, Refusal("""select loradex.check_jobs('[{{"k": 5}}]', '{{}}')""", "LX001"), ARGUMENTS
    ),
    "check_key_limits": Contract(
        OWNER, Refusal("select loradex.check_key_limits(0, 1)", "LX001"), "it reads no table"
    ),
    "current_key": Contract(OWNER, "it takes nothing", "it reads its own row"),
    "limit_api_key": Contract(
        ADMIN, Refusal("select loradex.limit_api_key(0, 1, 1)", "LX002"), "it finds the key by its id"
    ),
    "rotate_api_key": Contract(
        ADMIN,
        Refusal("select loradex.rotate_api_key(0, sha256('new'))", "LX002"),
        "it finds the key by its id",
    ),
    "take_requests": Contract(
        CLIENT, Refusal("select loradex.take_requests('lx_none')", "42501"), "it reads a key and its rate"
    ),
    "check_lease": Contract(
        OWNER, Refusal("select loradex.check_lease('0s', now())", "LX001"), "it reads a setting"
    ),
    "check_names": Contract(
        READERS,
        Refusal("select loradex.check_names('exclude_tasks', array['a', 'a'])", "LX001"),
        "it reads a setting",
    ),
    "check_routing": Contract(READERS, Refusal("select loradex.check_routing(0, 1, 1)", "LX001"), ARGUMENTS),
    "check_settings": Contract(
        READERS, Refusal("""select loradex.check_settings('[{{"k": 0}}]')""", "LX001"), ARGUMENTS
    ),
    "wrong_texts": Contract(READERS, GIVEN, "it reads no table"),
    "wrong_messages": Contract(READERS, GIVEN, "it reads no table"),
    "wrong_pairs": Contract(READERS, GIVEN, "it reads no table"),
    "wrong_numbers": Contract(READERS, GIVEN, "it reads no table"),
    "unknown_name": Contract(READERS, GIVEN, CATALOGUE),
    "check_vector": Contract(
        READERS, Refusal("select loradex.check_vector('[1]', 'all-MiniLM-L6-v2')", "LX005"), ARGUMENTS
    ),
    "check_scope": Contract(
        OWNER,
        Refusal(
            "select loradex.check_scope('ask') from set_config('loradex.tenant', '1 ask 00', true)", "LX011"
        ),
        "it reads its own row",
    ),
    "claim_hash": Contract(
        OWNER, Refusal("select loradex.claim_hash('short')", "LX001"), "it reads no table"
    ),
    "claim_jobs": Contract(
        WORKER,
        Refusal("select loradex.claim_jobs('w', 0, '1s', 1)", "LX001"),
        Reads("select loradex.claim_jobs('w', 4, '1s', 1)", 4 * JOB),
    ),
    "complete_job": Contract(OWNER, GIVEN, "it reads the settings"),
    "create_api_key": Contract(
        ADMIN, Refusal("select loradex.create_api_key('a', 'b', 'short')", "LX001"), "it writes one key"
    ),
    "current_owner": Contract(EVERYBODY, "it takes nothing", "it reads its own row"),
    "decide_routes": Contract(
        READERS,
        Refusal("select loradex.decide_routes(null, null)", "LX001"),
        Reads("select loradex.decide_routes(array[{job}], array[{query}])", SEARCH + ANSWER),
    ),
    "drop_encoder_index": Contract(
        ADMIN, Refusal("select loradex.drop_encoder_index('nobody')", "LX002"), CATALOGUE
    ),
    "domain_edge": Contract(
        CLIENT, Refusal("select loradex.domain_edge('nobody')", "LX002"), "in_domain_similarity, a sample"
    ),
    "drop_archived": Contract(
        ADMIN,
        Refusal("select loradex.drop_archived(now(), null, 0, '{{}}')", "LX001"),
        "it drops all that it is told of",
    ),
    "duplicate_examples": Contract(
        READERS, Refusal("select loradex.duplicate_examples(0)", "LX001"), HYGIENE
    ),
    "encoder_index": Contract(READERS, "any text is a name", "it reads no table"),
    "end_job": Contract(OWNER, GIVEN, "it writes to its job alone"),
    "enqueue_jobs": Contract(
        ASKERS,
        Refusal("select loradex.enqueue_jobs('3')", "LX001"),
        Reads(
            'select loradex.enqueue_jobs(\'[{{"prompt": "Is it warm?"}}]\')', 2 * WAITING + JOB
        ),  # it counts those that wait, never all
    ),
    "chain_beginning": Contract(READERS, "it takes nothing", Reads("select loradex.chain_beginning()", 1)),
    "chain_head": Contract(READERS, "it takes nothing", Reads("select loradex.chain_head()", 2)),
    "claim_embeddings": Contract(WORKER, "an unknown encoder has none waiting", "it reads those that wait"),
    "claim_replay": Contract(WORKER, "an unknown model has none waiting", "it reads those that wait"),
    "erase_jobs": Contract(
        ADMIN,
        Refusal("select loradex.erase_jobs('', '', '{{}}')", "LX001"),
        Reads("select loradex.erase_jobs('why', 'who', array[{job}])", 3 * JOB),
    ),
    "erasure_canonical": Contract(READERS, ROW, "it reads no table"),
    "jobs_to_erase": Contract(
        ADMIN,
        Refusal("select loradex.jobs_to_erase()", "LX001"),
        Reads("select loradex.jobs_to_erase(array[{job}])", JOB),
    ),
    "example_influence": Contract(
        READERS,
        Refusal("select loradex.example_influence(-1)", "LX002"),
        Reads("select loradex.example_influence({example})", 2 * ANSWERS),
    ),
    "example_neighbours": Contract(
        READERS,
        Refusal("select loradex.example_neighbours(0)", "LX001"),
        Reads("select loradex.example_neighbours(1, examples_a_task => 2)", EXAMPLES + 10 * SEARCH),
    ),
    "examples_hash": Contract(EVERYBODY, "ids of nothing have a hash too", ARGUMENTS),
    "expire_jobs": Contract(
        WORKER,
        "another time than now is the owner of the schema's to say",
        Reads("select loradex.expire_jobs()", JOB),
    ),
    "finish_reason": Contract(EVERYBODY, "any generation has one", "it reads no table"),
    "expiry": Contract(EVERYBODY, "any number is a deadline", "it reads no table"),
    "explain": Contract(
        EVERYBODY,
        Refusal("select loradex.explain(null)", "LX004"),
        Reads("select loradex.explain({answer})", ANSWER),
    ),
    "extend_lease": Contract(
        WORKER,
        Refusal("select loradex.extend_lease('w', '{{}}', '0s')", "LX001"),
        Reads("select loradex.extend_lease('w', array[{running}], '1s')", JOB),
    ),
    "fail_job": Contract(
        WORKER,
        Refusal("select loradex.fail_job(gen_random_uuid(), 1, '', 'why')", "LX001"),
        Reads("select loradex.fail_job({running}, 1, 'code', 'why')", JOB),
    ),
    "fence_job": Contract(
        OWNER,
        Refusal("select loradex.fence_job(gen_random_uuid(), 1)", "LX003"),
        Reads("select loradex.fence_job({running}, 1)", JOB),
    ),
    "give_up_job": Contract(OWNER, GIVEN, "it writes to its job alone"),
    "fresh_jobs": Contract(OWNER, GIVEN, "it looks into one index, once for each job of the call"),
    "first_id": Contract(EVERYBODY, "any moment has a first id", "it reads no table"),
    "group_duplicates": Contract(
        ADMIN, Refusal("select loradex.group_duplicates('nobody')", "LX002"), "it looks at every vector"
    ),
    "held_seconds": Contract(OWNER, ROW, "it reads no table"),
    "in_domain_similarity": Contract(
        READERS,
        Refusal("select loradex.in_domain_similarity(percentile => 2)", "LX001"),
        Reads("select loradex.in_domain_similarity(examples_a_task => 2)", EXAMPLES + 10 * SEARCH),
    ),
    "is_drawn": Contract(READERS, ROW, CATALOGUE),
    "is_served": Contract(EVERYBODY, "any text is a name", "it reads the announced workers"),
    "job_obstacle": Contract(
        ASKERS, "a job nobody knows has no obstacle", Reads("select loradex.job_obstacle({job})", JOB)
    ),
    "job_outcome": Contract(
        ASKERS,
        "a job nobody knows has no outcome: no row",
        Reads(
            "select loradex.job_outcome((select job_id from loradex.answers where position = 150))",
            ANSWER + JOB,
        ),
    ),
    "history_of_choices": Contract(
        READERS, GIVEN, Reads("select loradex.history_of_choices(array[{job}])", ANSWER)
    ),
    "job_request": Contract(EVERYBODY, ROW, "it reads no table"),
    "make_partition": Contract(OWNER, GIVEN, "it reads no table"),
    "keep_replay": Contract(WORKER, "any id may be asked for", "it reads one that waits"),
    "leave_embeddings": Contract(ASKERS, "any id may be asked for", "it deletes one by its id"),
    "release_replay": Contract(WORKER, "any id may be given back", "it updates one by its id"),
    "leave_replay": Contract(ASKERS, "any id may be asked for", "it deletes one by its id"),
    "list_api_keys": Contract(ADMIN, "it takes nothing", "it reads the keys"),
    "living_workers": Contract(READERS, "it takes nothing", "it reads the announced workers"),
    "mislabelled_candidates": Contract(
        READERS, Refusal("select loradex.mislabelled_candidates(5, 0.5)", "LX001"), HYGIENE
    ),
    "mix_affinities": Contract(READERS, GIVEN, ARGUMENTS),
    "mix_neighbours": Contract(READERS, GIVEN, ARGUMENTS),
    "monitor_figures": Contract(
        EVERYBODY, "it takes nothing", Reads("select loradex.monitor_figures()", WAITING + JOB)
    ),
    "next_turns": Contract(
        OWNER, GIVEN, "it reads the first and the last of each kind of job, see test_queue.py"
    ),
    "note_verification": Contract(
        READERS,
        Refusal("select loradex.note_verification(100000)", "LX001"),
        Reads("select loradex.note_verification(1)", 2),
    ),
    "nearest_examples": Contract(
        READERS,
        Refusal("select loradex.nearest_examples('[1]')", "LX005"),
        Reads("select loradex.nearest_examples({query})", SEARCH),
    ),
    "notify_job": Contract(OWNER, GIVEN, "it reads no table"),
    "notify_workers": Contract(OWNER, "it takes nothing", "it reads no table"),
    "rate_answer": Contract(
        ASKERS,
        Refusal("select loradex.rate_answer(gen_random_uuid(), 2)", "LX001"),
        Reads("select loradex.rate_answer({answer}, 1)", 2),
    ),
    "own_jobs": Contract(
        ASKERS,
        Refusal("select loradex.own_jobs('lost')", "LX001"),
        Reads("select loradex.own_jobs(only_state => 'queued', max_jobs => 20)", 20),
    ),
    "recipe_hash": Contract(EVERYBODY, GIVEN, "it reads no table"),
    "describe_base_model": Contract(
        WORKER | ADMIN,
        Refusal("select loradex.describe_base_model('nobody', 'r', '{{}}')", "LX001"),
        CATALOGUE,
    ),
    "record_answer": Contract(
        WORKER,
        Refusal("select loradex.record_answer(gen_random_uuid(), 1, '{{}}')", "LX003"),
        Reads("{record}", 2 * ANSWER),
    ),
    "record_replay": Contract(
        WORKER,
        Refusal("select loradex.record_replay(gen_random_uuid(), 'w', null)", "LX001"),
        "it reads one that waits",
    ),
    "record_embeddings": Contract(
        WORKER,
        Refusal("select loradex.record_embeddings(gen_random_uuid(), null, null)", "LX001"),
        "it reads one that waits",
    ),
    "refuse_change": Contract(OWNER, Refusal("delete from loradex.answers", "LX009"), "it reads no table"),
    "refuse_rewriting": Contract(OWNER, "it needs a row: see test_erasing", "it reads no table"),
    "register_adapter": Contract(
        ADMIN,
        Refusal(
            "select loradex.register_adapter('a b', 'boats', 'smollm2-135m-instruct', '', '', 8, 16, "
            "array['q'], 'float32', 1, 1)",
            "LX001",
        ),
        CATALOGUE,
    ),
    "register_affinity": Contract(
        ADMIN,
        Refusal("select loradex.register_affinity('rte', 'gpt', 'ab', 1.5, 32)", "LX001"),
        CATALOGUE,
    ),
    "register_base_model": Contract(
        ADMIN, Refusal("select loradex.register_base_model('b', 'r', 0)", "LX001"), CATALOGUE
    ),
    "register_encoder": Contract(
        ADMIN, Refusal("select loradex.register_encoder('', 'r', 3)", "LX001"), CATALOGUE
    ),
    "register_task": Contract(
        ADMIN, Refusal("select loradex.register_task('t', 'f', 'taste')", "LX001"), CATALOGUE
    ),
    "release_jobs": Contract(
        WORKER,
        "jobs that are not the worker's are left alone",
        Reads("select loradex.release_jobs('w', array[{running}])", JOB),
    ),
    "retire_base_model": Contract(
        ADMIN, Refusal("select loradex.retire_base_model('smollm2-135m-instruct')", "LX001"), CATALOGUE
    ),
    "retire_encoder": Contract(ADMIN, Refusal("select loradex.retire_encoder('nobody')", "LX002"), CATALOGUE),
    "reroute": Contract(
        READERS,
        Refusal("select loradex.reroute(gen_random_uuid())", "LX004"),
        Reads("select loradex.reroute({answer}, 16)", SEARCH),
    ),
    "reroute_all": Contract(
        READERS,
        Refusal("select loradex.reroute_all(0)", "LX001"),
        Reads("select loradex.reroute_all()", ANSWERS * (SEARCH + ANSWER)),
    ),
    "revoke_api_key": Contract(
        ADMIN, Refusal("select loradex.revoke_api_key(0)", "LX002"), "it finds the key by its id"
    ),
    "route_jobs": Contract(
        WORKER,
        Refusal("select loradex.route_jobs(null, null)", "LX001"),
        Reads("select loradex.route_jobs(array[{job}], array[{query}])", SEARCH + ANSWER),
    ),
    "seal_tenant": Contract(OWNER, GIVEN, "it reads one row"),
    "search_exactly": Contract(READERS, GIVEN, "it looks at every vector: that is what it is for"),
    "search_examples": Contract(
        READERS, GIVEN, Reads("select loradex.search_examples({request}, 'all-MiniLM-L6-v2')", SEARCH)
    ),
    "search_groups": Contract(
        READERS,
        GIVEN,
        Reads("select loradex.search_groups({request}, 'all-MiniLM-L6-v2')", 2 * EXAMPLES),
    ),
    "search_in_parts": Contract(
        READERS, GIVEN, Reads("select loradex.search_in_parts({request}, 'all-MiniLM-L6-v2', false)", SEARCH)
    ),
    "search_vectors": Contract(
        READERS, GIVEN, Reads("select loradex.search_vectors({request}, 'all-MiniLM-L6-v2', false)", SEARCH)
    ),
    "set_adapter_state": Contract(
        ADMIN, Refusal("select loradex.set_adapter_state('nobody', null, 'active')", "LX002"), CATALOGUE
    ),
    "set_chat_template": Contract(
        ADMIN, Refusal("select loradex.set_chat_template('nobody', 'x')", "LX002"), CATALOGUE
    ),
    "set_generation_defaults": Contract(
        ADMIN, Refusal("select loradex.set_generation_defaults('nobody', null)", "LX002"), CATALOGUE
    ),
    "shown": Contract(EVERYBODY, "any text can be shown", "it reads no table"),
    "similar_answers": Contract(
        READERS,
        Refusal("select loradex.similar_answers('[1]')", "LX005"),
        Reads("select loradex.similar_answers({query}, 3)", ANSWERS + 3 * ANSWER),
    ),
    "simulate_retire": Contract(
        READERS,
        Refusal("select loradex.simulate_retire('nobody')", "LX002"),
        Reads("select loradex.simulate_retire('boats-lora')", ANSWERS * ANSWER),
    ),
    "take_embeddings": Contract(ASKERS, "any id may be asked for", "it reads one that waits"),
    "take_replay": Contract(ASKERS, "any id may be asked for", "it reads one that waits"),
    "task_distribution": Contract(
        READERS,
        Refusal("select loradex.task_distribution('[1]', top_p => 2)", "LX001"),
        Reads("select loradex.task_distribution({query})", SEARCH),
    ),
    "task_overlap": Contract(READERS, Refusal("select loradex.task_overlap(-1)", "LX001"), HYGIENE),
    "verify_audit_chain": Contract(
        READERS,
        Refusal("select loradex.verify_audit_chain(gen_random_uuid())", "LX004"),
        Reads("select loradex.verify_audit_chain({answer}, {answer})", ANSWER),
    ),
    "waiting_jobs": Contract(
        READERS,
        Refusal("select loradex.waiting_jobs('1s', -1)", "2201W"),
        Reads("select loradex.waiting_jobs('-1s', 5)", JOB),
    ),
    "what_if": Contract(
        CLIENT,
        Refusal("select loradex.what_if(gen_random_uuid())", "LX004"),
        Reads("select loradex.what_if({answer}, 16)", SEARCH + ANSWER),
    ),
    "withdraw_worker": Contract(
        WORKER, Refusal("select loradex.withdraw_worker('w', 'short')", "LX001"), "it reads its own row"
    ),
}
