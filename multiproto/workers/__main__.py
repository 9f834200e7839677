"""`python -m multiproto.workers`: starts a worker; for the supervisor, not for people."""

import os


def main() -> None:
    os.setsid()  # first, for imports take a while: Ctrl-C is for the supervisor, which passes it on

    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main()
