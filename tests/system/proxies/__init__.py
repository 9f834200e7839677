"""The server behind real nginx and HAProxy, which run on what docs/operations.md shows."""
