-- Tables without rows, locked by functions: no role has a right on them, so none but the owner can hold these locks.
-- (Advisory locks would be open to every login.)
create table loradex.chain_lock ();
comment on table loradex.chain_lock is
    'Locked by record_answer until it commits, so that answers are chained one after the other.';
create table loradex.queue_lock ();
comment on table loradex.queue_lock is
    'Locked by enqueue_jobs while it counts: shared by small calls, exclusively where the count must be exact.';
-- Made before the first revision runs, by migrations/env.py.
create table if not exists loradex.migration_lock ();
