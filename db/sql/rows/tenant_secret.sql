-- 244 random bits, of this database alone: of each id 122 bits come from the server's strong source.
insert into loradex.tenant_secret (secret)
values (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));
