-- The administrator adds vectors; which of them are near duplicates, group_duplicates alone decides.
revoke insert on loradex.example_embeddings from loradex_admin;
grant insert (example_id, encoder, task, embedding) on loradex.example_embeddings to loradex_admin;
