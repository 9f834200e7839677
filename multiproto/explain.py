"""The command `python -m multiproto.explain`; see `multiproto/cli/explain_policy.py`."""

from __future__ import annotations

import os
import sys

from .cli.explain_policy import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
