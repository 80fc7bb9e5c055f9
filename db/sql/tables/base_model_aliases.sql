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
