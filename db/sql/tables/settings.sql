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
