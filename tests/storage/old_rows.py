"""Rows of a database that had no positions and numbers yet, for the migration of both engines."""

from __future__ import annotations

_USER = "'x', 'Ann', '$2b$'"
_EVENT = "'[]', NULL, '2026-01-01T00:00:00.000Z', 'messages.**'"

# Two clocks: what was sent last has an early time.  Of `old`, `older` and `ann` the log knows nothing any more.
ROWS_WITHOUT_POSITIONS = f"""
INSERT INTO users (id, email_key, email, name, password_hash, created_at, updated_at) VALUES
    ('ann', 'a', {_USER}, '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z'),
    ('bob', 'b', {_USER}, '2026-01-09T00:00:00.000Z', '2026-01-09T00:00:00.000Z'),
    ('cyd', 'c', {_USER}, '2026-01-08T00:00:00.000Z', '2026-01-08T00:00:00.000Z');
INSERT INTO messages (id, user_id, content, created_at, updated_at) VALUES
    ('older', 'ann', '', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z'),
    ('old', 'ann', '', '2026-01-02T00:00:00.000Z', '2026-01-02T00:00:00.000Z'),
    ('m1', 'ann', '', '2026-01-09T00:00:00.000Z', '2026-01-09T00:00:00.000Z'),
    ('m2', 'ann', '', '2026-01-08T00:00:00.000Z', '2026-01-08T00:00:00.000Z');
INSERT INTO events (position, id, type, subject, topics, content, created_at, namespace) VALUES
    (4, 'e4', 'user.created', 'bob', {_EVENT}),
    (5, 'e5', 'user.created', 'cyd', {_EVENT}),
    (6, 'e6', 'user.updated', 'bob', {_EVENT}),
    (7, 'e7', 'message.sent', 'm1', {_EVENT}),
    (9, 'e9', 'message.sent', 'm2', {_EVENT});
UPDATE head SET position = 9;
"""

# Table -> id -> position, once it was migrated.
POSITIONS = {
    "users": {"ann": 0, "bob": 4, "cyd": 5},
    "messages": {"older": -1, "old": 0, "m1": 7, "m2": 9},
}

AUDIT_WITHOUT_NUMBERS = """
INSERT INTO audit (id, at, action, outcome, protocol, times) VALUES
    ('n1', '2026-01-02T00:00:00.000Z', 'login', 'success', 'rest', 1),
    ('n2', '2026-01-03T00:00:00.000Z', 'login', 'success', 'rest', 1),
    ('n3', '2026-01-01T00:00:00.000Z', 'login', 'success', 'rest', 1);
"""

# Id -> number, once it was migrated, and the same were written again as m1, m2, m3.
AUDIT_NUMBERS = {"n3": 1, "n1": 2, "n2": 3, "m1": 4, "m2": 5, "m3": 6}

# Accounts whose addresses had other keys, the oldest first.
EMAILS = (
    ("ascii", "Strasse@x.org", "strasse@x.org"),
    ("upper", "ΝΙΚΟΣ@x.org", "νικος@x.org"),
    ("sigma", "νικοσ@x.org", "νικοσ@x.org"),  # the key that the one before gets
    ("mixed", "Νικοσ@x.org", "νικοσ@x.org Νικοσ@x.org"),  # which the predecessor had, too
    ("sharp", "straße@x.org", "straße@x.org"),
    ("iota", "ᾳ@bü.org", "ᾳ@xn--b-eha.org"),
    ("right", "é@x.org", "é@x.org"),
    ("closed", "", "closed"),
)
EMAIL_ROWS = (
    "".join(
        "INSERT INTO users (id, email_key, email, name, password_hash, version, created_at, updated_at, position) VALUES"
        f" ('{id}', '{key}', '{email}', 'Ann', '$2b$', 1, '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z',"
        f" {position});\n"
        for position, (id, email, key) in enumerate(EMAILS)
    )
    + """
INSERT INTO operator_addresses (email_key, user_id, resolved_at) VALUES
    ('νικος@x.org', 'upper', '2026-01-01T00:00:00.000Z'),
    ('ᾳ@xn--b-eha.org', NULL, '2026-01-02T00:00:00.000Z'),
    ('αι@xn--b-eha.org', 'other', '2026-01-03T00:00:00.000Z');
"""
)
# Id -> key and version, once it was migrated.
EMAIL_KEYS = {
    "ascii": ("strasse@x.org", 1),
    "upper": ("νικοσ@x.org", 2),
    "sigma": ("νικοσ@x.org νικοσ@x.org", 2),
    "mixed": ("νικοσ@x.org Νικοσ@x.org", 1),
    "sharp": ("strasse@x.org straße@x.org", 2),
    "iota": ("αι@xn--b-eha.org", 2),
    "right": ("é@x.org", 1),
    "closed": ("closed", 1),
}
OPERATOR_KEYS = {"νικοσ@x.org": "upper", "αι@xn--b-eha.org": "other"}
