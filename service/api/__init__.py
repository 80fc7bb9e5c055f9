"""`loradex serve`: the API that OpenAI's clients speak, for many tenants, on one `AsyncClient`.

`app.py` says which paths there are, `door.py` what every request passes. Whose rows a request reaches is decided in
Postgres, by the key it shows (`loradex.authenticate`); here nobody is trusted with another's.
"""
