"""The command `python -m multiproto user`, by an older name; see `multiproto/cli/manage_accounts.py`."""

from __future__ import annotations

import os
import sys

from .cli.manage_accounts import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
