"""The stores behind `core.ports.LogStore`, one for each database engine."""
