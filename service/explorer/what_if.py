"""`/what-if/{id}`: one answer routed again with other settings, beside what is on record. Nothing is generated here."""

from typing import Any, LiteralString

from psycopg.sql import SQL, Composable, Composed, Literal
from starlette.responses import Response

from loradex.errors import UnknownAnswerError
from loradex.service.api.problem import refused
from loradex.service.client.calls import uuid_of
from loradex.service.explorer.look import Look
from loradex.service.explorer.picture import picture_of
from loradex.service.explorer.wish import Wish, changed, changes

PATH = "/what-if"
STORED: LiteralString = """
    select a.id::text as answer_id, left(a.prompt, 2000) as prompt, a.prompt is null as erased, a.method, a.k, a.top_p,
           a.temperature, a.exclude_tasks, a.exclude_adapters, m.selection,
           (select coalesce(jsonb_agg(to_jsonb(t) order by t.rank), '[]') from loradex.retrieved_tasks t
            where t.answer_id = a.id) as distribution,
           (select coalesce(jsonb_agg(to_jsonb(c) order by c.rank), '[]') from loradex.merge_components c
            where c.answer_id = a.id) as mixture,
           (select coalesce(jsonb_agg(to_jsonb(e) order by e.rank), '[]') from loradex.retrieved_examples e
            where e.answer_id = a.id) as neighbours
    from loradex.answers a left join loradex.methods m on m.name = a.method
    where a.id = %s"""
CATALOGUE: LiteralString = """
    select (select array_agg(name order by name) from loradex.tasks) as tasks,
           (select array_agg(distinct name order by name) from loradex.adapters where state = 'active') as adapters,
           (select jsonb_object_agg(name, selection order by name) from loradex.methods
            where selection in ('nucleus', 'affinity', 'first')) as methods"""
ROUTED: LiteralString = """\
with request as (
    select row(1, a.query, {k}, {top_p}, {temperature}, {exclude_tasks}, a.base_model, {exclude_adapters},
               a.job_id)::loradex.route_request as request, a.encoder
    from loradex.answers a
    where a.id = {answer}
), nearby as materialized (
    select array[r.request] as requests, loradex.search_examples(array[r.request], r.encoder) as neighbours
    from request r
), distribution as materialized (
    select m.* from nearby n cross join loradex.mix_neighbours(n.requests, n.neighbours) m
), mixture as materialized (
    {mixture}
), change as (
    select coalesce(m.weight, 0) as after, coalesce(c.weight, 0) as before
    from mixture m
    full join (select * from loradex.merge_components where answer_id = {answer}) c on c.sha256 = m.sha256
)
select
    (select coalesce(jsonb_agg(to_jsonb(v) || jsonb_build_object('source_ref', e.source_ref) order by v.rank), '[]')
     from nearby n cross join unnest(n.neighbours) v left join loradex.examples e on e.id = v.example_id) as neighbours,
    (select coalesce(jsonb_agg(to_jsonb(d) order by d.rank), '[]') from distribution d) as distribution,
    (select coalesce(jsonb_agg(to_jsonb(m) order by m.rank), '[]') from mixture m) as mixture,
    -- Weight that went to no adapter, or came from none, is the base model's.
    (select coalesce(sum(abs(c.after - c.before)) + abs(sum(c.after) - sum(c.before)), 0) / 2 from change c)
        as total_variation
-- What is tried is judged; what the answer had may be out of range by now.
from loradex.check_routing(coalesce({new_k}, 1), coalesce({new_top_p}, 1e-300), coalesce({new_temperature}, 1),
                           coalesce({new_exclude_tasks}, '{{}}'), null, coalesce({new_exclude_adapters}, '{{}}'));
"""
FOR_OWNERS: LiteralString = """\
select w.told -> 'tasks' as distribution, '[]'::jsonb as neighbours, (w.told ->> 'total_variation')::float8
           as total_variation,
       (select coalesce(jsonb_agg(m.part || jsonb_build_object('rank', m.rank) order by m.rank), '[]')
        from jsonb_array_elements(w.told -> 'mixture') with ordinality m(part, rank)) as mixture
from loradex.what_if({answer}, {new_k}, {new_top_p}, {new_temperature}, {method}, {new_exclude_tasks},
                     {new_exclude_adapters}) w(told);
"""
"""The owner of a key sees no vectors, and is not told which examples are nearest now."""

TYPES = {
    "k": SQL("::int"),
    "top_p": SQL("::float8"),
    "temperature": SQL("::float8"),
    "exclude_tasks": SQL("::text[]"),
    "exclude_adapters": SQL("::text[]"),
}
MIXTURES: dict[str, LiteralString] = {
    "nucleus": "select row_number() over (order by d.rank) as rank, d.adapter, d.version, d.task, d.sha256, d.weight\n"
    "    from distribution d where d.in_nucleus",
    "first": "select 1 as rank, d.adapter, d.version, d.task, d.sha256, 1::float8 as weight\n"
    "    from distribution d where d.in_nucleus order by d.rank limit 1",
    "affinity": "select m.rank, m.adapter, m.version, m.task, m.sha256, m.weight\n"
    "    from nearby n cross join loradex.mix_affinities(n.requests, n.neighbours) m",
}
"""How a method selects → the rows of its mixture."""


async def page(look: Look) -> Response:
    """The page."""
    wish = Wish.of(look.http.query_params.multi_items())
    wanted = uuid_of(look.http.path_params["id"], UnknownAnswerError)
    found = await look.source.rows(STORED, (wanted,))
    if not found:
        raise UnknownAnswerError(f"no answer {wanted}; choose one of the answers")
    (stored,) = found
    if stored["erased"]:
        raise refused("the question of this answer was erased, so it cannot be routed again")
    (catalogue,) = await look.source.rows(CATALOGUE)
    settings = changed(wish, stored)
    routed = settings["method"] in catalogue["methods"]
    if not routed and wish.method is not None:
        raise refused(f"method is one of {', '.join(catalogue['methods'])}", "method")
    if not routed:  # the answer's own does not look at neighbours
        settings["method"] = next(iter(catalogue["methods"]))
    selection = catalogue["methods"][settings["method"]]
    statement = routing(
        stored["answer_id"], settings, changes(wish, stored), selection if look.viewer.everything else None
    )
    (told,) = await look.source.rows(statement)
    return look.page(
        "what_if.html",
        {
            "stored": stored,
            "settings": settings,
            "catalogue": catalogue,
            "told": told,
            "routed": routed,
            "before": picture_of(
                stored["neighbours"],
                stored["distribution"],
                stored["mixture"],
                stored["selection"],
            ),
            "after": picture_of(told["neighbours"], told["distribution"], told["mixture"], selection),
            "selection": selection,
            "asks": look.viewer.client is not None,
            "sql": statement.as_string(),
        },
    )


def routing(answer: str, settings: dict[str, Any], tried: dict[str, Any], selection: str | None) -> Composed:
    """The statement that routes an answer's stored query with these settings, as `route_jobs` would.

    Args:
        answer: Whose query it is.
        settings: Those of routing, all of them.
        tried: Those that are others than the answer's; None where they are not.
        selection: How the method selects; None: the statement of an owner, who sees no vectors.
    """
    told = settings | {f"new_{name}": value for name, value in tried.items()}
    literals = {name: _literal(name, value) for name, value in told.items()}
    return SQL(FOR_OWNERS if selection is None else ROUTED).format(
        answer=Literal(answer), mixture=SQL("" if selection is None else MIXTURES[selection]), **literals
    )


def _literal(name: str, value: Any) -> Composable:
    """With its type, which `null` and an empty list have not by themselves."""
    kind = next((one for ending, one in TYPES.items() if name.endswith(ending)), SQL(""))
    return SQL("{}{}").format(
        Literal(value if value is None or isinstance(value, (int, float, str)) else list(value)), kind
    )
