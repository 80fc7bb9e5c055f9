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
