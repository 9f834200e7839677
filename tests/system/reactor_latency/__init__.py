"""How long anything holds the reactor: `python -m tests.system.reactor_latency`."""
