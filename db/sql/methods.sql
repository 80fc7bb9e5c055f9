-- The only list of methods; a revision that adds one runs the whole file again. `adapters` says who takes part; the rest
-- is the worker's arithmetic.
insert into loradex.methods (name, adapters, description) values
    ('base', 'none', 'the bare base model'),
    ('own', 'named', 'the adapter the job names, alone'),
    ('top1', 'first', 'the adapter of the likeliest task, alone'),
    ('uniform', 'all', 'all allowed active adapters with equal weights, whatever retrieval says'),
    ('linear', 'nucleus', 'factors A and B summed with the root of weight times scaling (PEFT linear)'),
    ('cat', 'nucleus', 'the exact weighted sum of the updates (PEFT cat)'),
    ('ties', 'nucleus', 'trim, elect the sign by total, disjoint mean (PEFT ties)'),
    ('ties_frequency', 'nucleus', 'ties that elects the sign by count'),
    ('magnitude_prune', 'nucleus', 'trim by magnitude, then linear (PEFT magnitude_prune)'),
    ('calibrated_linear', 'nucleus', 'linear, rescaled to the weighted mean norm of its adapters'),
    ('calibrated_cat', 'nucleus', 'cat, rescaled to the weighted mean norm of its adapters'),
    ('calibrated_ties', 'nucleus', 'ties, rescaled to the weighted mean norm of its adapters'),
    ('calibrated_ties_frequency', 'nucleus', 'ties_frequency, rescaled to the weighted mean norm of its adapters'),
    ('calibrated_magnitude_prune', 'nucleus', 'magnitude_prune, rescaled to the weighted mean norm of its adapters'),
    ('affinity', 'affinity', 'the adapters measured to answer best where the neighbours lie, summed as by cat'),
    ('affinity_calibrated_cat', 'affinity', 'the same adapters, summed and rescaled as by calibrated_cat'),
    ('affinity_linear', 'affinity', 'the same adapters, merged as by linear'),
    ('affinity_magnitude_prune', 'affinity', 'the same adapters, merged as by magnitude_prune')
on conflict (name) do update set adapters = excluded.adapters, description = excluded.description;
insert into loradex.limits default values on conflict do nothing;
