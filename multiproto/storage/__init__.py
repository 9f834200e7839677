"""The one store behind the core's ports, and the writer of the log."""
