"""The command `python -m multiproto check-data`; see `multiproto/cli/check_data.py`."""

from __future__ import annotations

import os
import sys

from .cli.check_data import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
