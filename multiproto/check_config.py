"""The command `python -m multiproto check-config`; see `multiproto/cli/check_config.py`."""

from __future__ import annotations

import os
import sys

from .cli.check_config import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
