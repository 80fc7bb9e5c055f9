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
