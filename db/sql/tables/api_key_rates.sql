-- How much of its requests a minute each API key has used up, written by take_requests alone. Apart from the keys, since it
-- changes far more often; unlogged, since after a crash everybody may begin with a full minute.
create unlogged table loradex.api_key_rates (
    key_id bigint not null,
    full_at timestamptz not null,
    constraint api_key_rates_pkey primary key (key_id)
)
with (fillfactor = 50);
comment on table loradex.api_key_rates is
    'When each API key with a limit may make a whole minute''s requests again; only take_requests comes here.';
comment on column loradex.api_key_rates.key_id is 'the key';
comment on column loradex.api_key_rates.full_at is 'each request granted puts it off by a minute divided by the limit';
