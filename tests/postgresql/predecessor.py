"""A database as the server before this one left it: made by its three migrations, with odd rows of each kind."""

from __future__ import annotations

from typing import Any

import bcrypt
import psycopg

from tests.canary import PASSWORD

LONG_PASSWORD = PASSWORD + "x" * 72  # over bcrypt's limit: the predecessor cut it
MIGRATIONS = (
    """
    CREATE FUNCTION update_updated_at_column() RETURNS trigger AS $$
    BEGIN NEW.updated_at = CURRENT_TIMESTAMP; RETURN NEW; END
    $$ LANGUAGE plpgsql;
    CREATE TABLE users (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        email varchar(255) NOT NULL UNIQUE,
        name varchar(255) NOT NULL,
        password varchar(255) NOT NULL,
        created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
        updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
    );
    CREATE INDEX idx_users_email ON users (email);
    CREATE TRIGGER update_users_updated_at BEFORE UPDATE ON users
        FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
    """,
    """
    CREATE TABLE messages (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        content text NOT NULL,
        recipient_id uuid REFERENCES users (id) ON DELETE SET NULL,
        channel_id varchar(255),
        created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
        updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
    );
    CREATE INDEX idx_messages_user_id ON messages (user_id);
    CREATE INDEX idx_messages_channel_id ON messages (channel_id);
    CREATE INDEX idx_messages_created_at ON messages (created_at);
    """,
    """
    CREATE TABLE sessions (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        token text NOT NULL UNIQUE,
        expires_at timestamptz NOT NULL,
        created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
    );
    CREATE TABLE migrations (id serial PRIMARY KEY, name varchar(255) NOT NULL, run_on timestamp NOT NULL);
    INSERT INTO migrations (name, run_on) VALUES ('001_users', now()), ('002_messages', now()), ('003_sessions', now());
    """,
)


def user_id(number: int) -> str:
    return f"a0000000-0000-4000-8000-{number:012x}"


def message_id(number: int) -> str:
    return f"b0000000-0000-4000-8000-{number:012x}"


def bcrypt_hash(password: str, prefix: str = "$2b$") -> str:
    """As JavaScript's bcrypt makes it: it cuts what is too long."""
    return prefix + bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()[4:]


HASHES = (
    bcrypt_hash(PASSWORD),
    bcrypt_hash(PASSWORD, "$2a$"),
    bcrypt_hash(PASSWORD, "$2y$"),
    bcrypt_hash(LONG_PASSWORD),
)
# (email, name, hash) of the users 1, 2, …, the oldest first.
USERS = (
    ("ann@example.org", "Ann", HASHES[0]),
    ("bob@example.org", "Bob", HASHES[1]),
    ("cyd@example.org", "Cyd", HASHES[2]),
    ("dan@example.org", "Dan", HASHES[3]),
    ("Ann@Example.org", "Ann Upper", bcrypt_hash("An0ther!one")),
    ("ANN@example.org", "Ann Third", bcrypt_hash("A-third-0ne")),
    ("jos\u00e9@example.org", "Composed", HASHES[0]),
    ("jose\u0301@example.org", "Decomposed", bcrypt_hash("An0ther!one")),
    ("no address", "R2-D2 \U0001f916", HASHES[0]),
    ("eve@localhost", "", "plain text"),
)
ODD_CHANNELS = ("general", "a.b *", "\u20ac" * 200, "x" * 255)


def fill(conninfo: str) -> None:
    """Ten users and messages of each kind."""
    with psycopg.connect(conninfo) as connection:
        migrate(connection)
        for number, (email, name, hashed) in enumerate(USERS, 1):
            connection.execute(
                "INSERT INTO users VALUES (%s, %s, %s, %s, %s, %s)",
                [user_id(number), email, name, hashed, _time(number), _time(number, 5)],
            )
        connection.execute(
            "INSERT INTO users (id, email, name, password) VALUES (%s, 'gone@example.org', 'Gone', 'x')",
            [user_id(99)],
        )
        for number, (author, recipient, channel, content, at) in enumerate(_messages(), 1):
            connection.execute(
                "INSERT INTO messages VALUES (%s, %s, %s, %s, %s, %s, %s)",
                [message_id(number), author, content, recipient, channel, at, at],
            )
        connection.execute("DELETE FROM users WHERE id = %s", [user_id(99)])
        connection.execute(
            "INSERT INTO sessions (user_id, token, expires_at) SELECT id, 'token of ' || email, now() FROM users"
        )


def migrate(connection: psycopg.Connection[Any]) -> None:
    for migration in MIGRATIONS:
        connection.execute(migration.encode())


def _messages() -> list[tuple[str, str | None, str | None, str, str]]:
    """(author, recipient, channel, content, time)"""
    ann, bob, gone = user_id(1), user_id(2), user_id(99)
    return [
        *((ann, None, channel, f"in {channel}"[:50], _time(20)) for channel in ODD_CHANNELS),
        (ann, bob, None, "to Bob", _time(21)),
        (bob, ann, "general", "to Ann, of a channel", _time(22)),
        (ann, gone, None, "to one who left", _time(23)),
        (bob, None, "general", "", "infinity"),
        (bob, None, "general", "\\. \t\n\\N \u2028 \U0001f98a", "2999-12-31 23:59:59.9999+00"),
        (bob, None, "general", "long " * 5000, "-infinity"),
    ]


def _time(second: int, microseconds: int = 123_999) -> str:
    """One whose milliseconds are 123 when it is cut, and 124 when it is rounded."""
    return f"2025-05-05 05:05:{second:02d}.{microseconds:06d}+02"
