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
