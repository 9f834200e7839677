"""The commands beside the server, by one name: `python -m multiproto COMMAND`.

Each is a module of its own, which can be run as such, too: `python -m multiproto.explain`.
"""

from __future__ import annotations

import difflib
import runpy
import sys

from . import __version__

# command -> (the module that is it, what it does)
COMMANDS = {
    "check-config": (
        "multiproto.check_config",
        "look at a configuration without starting, and say what is risky",
    ),
    "check-data": ("multiproto.check_data", "read all that is stored, and say what is damaged"),
    "explain": ("multiproto.explain", "who may do what on a topic, by the configured rules"),
    "move": ("multiproto.move", "move everything to another store, or from the predecessor's database"),
    "user": ("multiproto.accounts", "make accounts, and operators, who may read the audit log"),
}

USAGE = "\n".join(
    [
        "usage: python -m multiproto COMMAND [options]",
        "       python -m multiproto --version",
        "",
        "Commands for operators; each has --help:",
        "",
        *(f"  {name:<14}{does}" for name, (_, does) in COMMANDS.items()),
        "",
        "The server itself is started by: twistd -n multiproto",
    ]
)


def main() -> None:
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(USAGE)
    elif name == "--version":
        print(f"multiproto {__version__}")
    elif name in COMMANDS:
        module, _ = COMMANDS[name]
        sys.argv[1:] = arguments
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        nearest = f"; the nearest is {near[0]}" if near else ""
        print(f"python -m multiproto: {name} is no command{nearest}\n\n{USAGE}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
