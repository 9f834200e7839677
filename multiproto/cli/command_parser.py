"""The command line of a command for operators: what is wrong with it is said without its values, which may be secrets."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn, Sequence


class CommandParser(argparse.ArgumentParser):
    """Takes no abbreviated option: `--password SECRET` is not the `--password-file` that it begins as."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """As `parse_args`, which shows the values of options that it does not know."""
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            names = [word.partition("=")[0] for word in unknown if re.match("--?[a-z]", word)]
            self.error(f"no such option: {', '.join(names)}" if names else "more words than it takes")
        return options

    def error(self, message: str) -> NoReturn:
        """End the program with its usage and `message`, without the value that the parent has put into it."""
        message = re.sub(r"(?s)invalid choice: .* \(choose from (.*)\)", r"must be one of \1", message)
        message = re.sub(r"(?s)ignored explicit argument .*", "takes no value", message)
        super().error(message)
