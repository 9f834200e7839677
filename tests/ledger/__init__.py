"""The ledger: what every client saw, compared with what the log holds.  See `docs/ledger.md`."""
