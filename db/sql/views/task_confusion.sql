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
