"""`python -m multiproto.workers`: how a worker begins; for the supervisor, not for people."""

import os


def main() -> None:
    os.setsid()  # Ctrl-C is for the supervisor alone, which passes it on; first, for imports take a while

    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main()
