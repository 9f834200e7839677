"""The command `python -m multiproto.move`; see `multiproto/cli/move_data.py`."""

from __future__ import annotations

import sys

from .cli.move_data import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
