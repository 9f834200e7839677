"""How long anything holds the reactor: `python -m tests.stalls`."""
