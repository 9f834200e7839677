"""Prints `.env.example`, the table of settings for people.

`python -m multiproto.config.example > .env.example` writes it again.
"""

from __future__ import annotations

import argparse

from .load import iter_settings
from .parsers import format_duration
from .setting import SAME_AS_DEVELOPMENT, Setting

HEADER = """\
# Every setting of multiproto with its default and meaning.
#
# Where they come from, each before the next: defaults; a TOML file (--config FILE: the same names in lower
# case, as tcp_port = 3001, below no [section]; see docs/configuration.md); in development a file named .env in
# the folder the server is started from (a copy of this one, say); the environment; flags.
# Times are 500ms, 30s, 15m, 12h, 7d; a bare number is milliseconds. Lists are separated by commas.
# Rates are 500/s, 30000/m, 500/s burst 1000: so many at once, then as fast as they say; or none.
# A secret may stand in a file of its own: JWT_SECRET_FILE=/run/secrets/jwt, and so for each marked [secret].
"""


def render_example() -> str:
    return "\n".join([HEADER, *(_render_setting(row, default) for row, default in iter_settings())])


def _render_setting(row: Setting, default: object) -> str:
    notes = (" [secret]" if row.is_secret else "") + (" [read again on SIGHUP]" if row.is_reloaded else "")
    if row.production_default is not SAME_AS_DEVELOPMENT:
        notes += f" (in production: {format_default(row.production_default) or 'none'})"
    return f"# {row.description}{notes}\n#{row.name}={format_default(default)}\n"


def format_default(value: object) -> str:
    """A default as it is written in the file."""
    match value:
        case None | () | "":
            return ""
        case bool():
            return str(value).lower()
        case float():
            return format_duration(value)
    return str(value)


if __name__ == "__main__":
    argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m multiproto.config.example",
        description=f"{__doc__}\n{HEADER}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    print(render_example(), end="")
