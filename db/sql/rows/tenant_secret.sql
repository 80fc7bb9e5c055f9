-- 244 random bits, of this database alone: of each id 122 bits come from the server's strong source. HMAC-SHA-256 fills a
-- key up to a block of 64 bytes with zeros, and changes each byte: by 54 for the inner hash, by 92 for the outer one.
insert into loradex.tenant_secret (inner_key, outer_key)
with fresh as materialized (
    select decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '') || repeat('00', 32), 'hex') as block
)
select decode(string_agg(lpad(to_hex(get_byte(block, place) # 54), 2, '0'), '' order by place), 'hex'),
       decode(string_agg(lpad(to_hex(get_byte(block, place) # 92), 2, '0'), '' order by place), 'hex')
from fresh cross join generate_series(0, 63) place;
