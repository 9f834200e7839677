"""`python -m tests.system.revocation [--rounds 8] [--without redis] [--blind]`: rights end on two real instances, and the figures."""

from __future__ import annotations

import sys

from .run import main

sys.exit(main(sys.argv[1:]))
