"""The explorer: pages on which a person sees what was answered, and why. They read, and change nothing.

`site.py` has the paths. Each page is a module that asks Postgres and a template that shows what came back.
"""
