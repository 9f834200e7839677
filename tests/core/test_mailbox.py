"""Mailbox addresses in every spelling."""

from __future__ import annotations

from unicodedata import normalize

import idna
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.mailbox import email_key, is_mailbox, normalize_mailbox

# As typed; as stored and shown; as compared.
VALID = (
    ("Ann@Example.org", "Ann@Example.org", "ann@example.org"),
    ("info@bücher.example", "info@bücher.example", "info@xn--bcher-kva.example"),
    ("info@bu\u0308cher.example", "info@bücher.example", "info@xn--bcher-kva.example"),
    ("Info@BÜCHER.Example", "Info@bücher.example", "info@xn--bcher-kva.example"),
    ("info@XN--Bcher-KVA.example", "info@XN--Bcher-KVA.example", "info@xn--bcher-kva.example"),
    ("info@faß.example", "info@faß.example", "info@xn--fa-hia.example"),
    ("用户@例子。公司", "用户@例子.公司", "用户@xn--fsqu00a.xn--55qx5d"),
    ("Ιωάννης@παράδειγμα.ελ", "Ιωάννης@παράδειγμα.ελ", "ιωάννησ@xn--hxajbheg2az3al.xn--qxam"),
    ("Zoe\u0308@b.org", "Zoë@b.org", "zoë@b.org"),
    ("Ａnn@ｂ.org", "Ａnn@b.org", "ann@b.org"),
    (
        "علی\u200cرضا@نامه\u200cای.com",
        "علی\u200cرضا@نامه\u200cای.com",
        "علیرضا@xn--mgba3gch31f060k.com",
    ),
    ("ΝΙΚΟΣ@b.org", "ΝΙΚΟΣ@b.org", "νικοσ@b.org"),
    ("a@exam\u00adple.org", "a@example.org", "a@example.org"),  # IDNA takes away what nobody sees
    ("a@e\u200bx\ufe0fä\u2060.org", "a@exä.org", "a@xn--ex-wia.org"),
    ("a@ab--cd.example", "a@ab--cd.example", "a@ab--cd.example"),  # no IDNA, but such names exist
)
# Each one address in several spellings.
SAME = (
    ("ΝΙΚΟΣ@b.org", "νικος@b.org", "νικοσ@b.org", "Νικος@b.org"),
    ("ΝΙΚΟΣ.Α@b.org", "νικος.α@b.org", "νικοσ.α@b.org"),
    ("ᾳδης@b.org", "ᾼΔΗΣ@b.org", "ΑΙΔΗΣ@b.org", "α\u0345δησ@b.org"),
    ("ᾴ@b.org", "α\u0345\u0301@b.org", "α\u0301\u0345@b.org", "άι@b.org"),
    ("straße@b.org", "STRASSE@b.org", "STRAẞE@b.org", "ﬆraſse@b.org"),
    ("ＡＮＮ@b.org", "ann@b.org", "a\u200cnn@b.org"),
    ("İ@b.org", "i\u0307@b.org"),
)
INVALID = (
    *(
        "info@☃.example",
        "a@xn--n3h.example",
        "a@xn--b\u00fccher.example",
        "a@xn--a.example",
        "a@-ü.example",
        "a@ü",
    ),
    *("a b@c.org", "a\u00a0b@c.org", "a\u202eb@c.org", "a\u200bb@c.org", "\u200ca@b.org"),
    "ab\u200d@c.org",
    *("ä..b@c.org", ".ä@c.org", "ä.@c.org", "ä@ü..org", "ä@ü.org.", "ä", "@ü.org", "ü.org", "a@b@c.org", ""),
    *("a\ud800@b.org", "☃@b.org"),
    # Letters and marks that nobody sees.
    *(
        "a\ufe0f@b.org",
        "a\u034f@b.org",
        "\u3164@b.org",
        "\uffa0a@b.org",
        "a\U000e0101@b.org",
        "a\u17b4@b.org",
    ),
)


class MailboxTests(SynchronousTestCase):
    def test_spellings(self) -> None:
        for typed, stored, compared in VALID:
            self.assertEqual((normalize_mailbox(typed), email_key(typed)), (stored, compared))
            self.assertTrue(is_mailbox(stored), ascii(stored))
            self.assertEqual((normalize_mailbox(stored), email_key(stored)), (stored, compared))

    def test_spellings_of_one_address_have_one_key(self) -> None:
        for spellings in SAME:
            keys = {email_key(each) for each in spellings}
            self.assertEqual(len(keys), 1, keys)
            self.assertEqual({email_key(key) for key in keys}, keys)

    def test_no_letter_has_another_key_in_another_spelling(self) -> None:
        """In every form that Unicode calls a compatible or caseless match, alone and at the end of a word."""
        for character in map(chr, range(0x80, 0x30000)):
            others = {
                character.casefold(),
                *(normalize(f"NF{form}", character) for form in ("C", "D", "KC", "KD")),
            }
            if others == {character} or not is_mailbox(f"{character}@b.org"):
                continue
            for start in ("", "a"):
                key = email_key(f"{start}{character}@b.org")
                for other in others:
                    self.assertEqual(email_key(f"{start}{other}@b.org"), key, f"{character!r} {other!r}")

    def test_what_is_no_address(self) -> None:
        for typed in INVALID:
            self.assertFalse(is_mailbox(normalize_mailbox(typed)), ascii(typed))

    def test_the_longest_domain_label_and_one_character_more(self) -> None:
        for letters, fits in ((57, True), (58, False)):  # 63 characters of ASCII, and 64
            self.assertEqual(is_mailbox(f"a@{'ü' * letters}.example"), fits, letters)

    def test_a_label_that_is_too_long_is_not_converted(self) -> None:
        """IDNA's rules about digits take quadratic time: 13 ms for one label of 250."""
        converted: list[str] = []
        self.patch(idna, "encode", lambda domain, **_: converted.append(domain) or b"x")
        for dot in ".\u3002\uff0e\uff61":
            longest = "\u0661" * 63 + dot + "\u0661" * 63
            email_key(f"a@{longest}\u0661")
            self.assertEqual(converted, [])
            email_key(f"a@{longest}")
            self.assertEqual(converted.pop(), longest)
            converted.clear()

    @given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300))
    def test_any_text_has_a_key(self, text: str) -> None:
        """What was typed at a login may be anything; and a key is the key of itself."""
        key = email_key(text)
        self.assertEqual(email_key(text.strip()), key)
        if is_mailbox(normalize_mailbox(text)):
            self.assertEqual(email_key(key), key)

    @given(st.from_regex(r"[A-Za-z0-9.+_-]{1,20}@[A-Za-z0-9.-]{1,20}", fullmatch=True))
    def test_the_key_of_ascii_is_its_lower_case(self, text: str) -> None:
        """As it was before other scripts were accepted: accounts of then are found by it."""
        self.assertEqual((normalize_mailbox(text), email_key(text)), (text, text.lower()))
