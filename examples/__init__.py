"""Small clients to read, run and copy; each says with `--help` what it shows."""
