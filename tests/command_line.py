"""The command lines of the programs beside the tests and benchmarks: what they do is their docstring."""

from __future__ import annotations

import argparse
import sys


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """One for the module that runs as `python -m`; `--help` shows `description`."""
    spec = sys.modules["__main__"].__spec__
    name = "" if spec is None else spec.name.removesuffix(".__main__")
    return argparse.ArgumentParser(
        allow_abbrev=False,
        prog=f"python -m {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
