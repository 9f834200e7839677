"""`python -m tests.ledger --seconds 20 --kills 5`: a load, and the checker's judgement of it."""

from __future__ import annotations

import sys

from .load import main

sys.exit(main(sys.argv[1:]))
