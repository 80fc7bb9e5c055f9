-- Affinities are part of the catalogue: everybody may look; register_affinity writes.
grant select on loradex.task_affinities to loradex_reader, loradex_client, loradex_worker, loradex_admin;
