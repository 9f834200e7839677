"""Hostile load on a real server, and what everybody else notices of it: `python -m tests.system.overload --help`.

Nothing here but the server uses Twisted: what is measured does not measure itself.
"""
