"""Small clients to read, run and copy; `--help` says what each shows."""
