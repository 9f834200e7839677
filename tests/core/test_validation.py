"""The limits on input, each at the limit and one past it."""

from __future__ import annotations

import sys
from typing import Any, Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.errors import FieldError, ValidationError
from multiproto.core.validation import IDEMPOTENCY_HEADER, FieldValidator, misspelt_fields, paging

UUID = "6c84fb90-12c4-11e1-840d-7b25c5ee775a"


def faults(read: Callable[[FieldValidator], object], **fields: object) -> list[str]:
    """The messages of all faults that `read` finds."""
    form = FieldValidator(fields)
    read(form)
    try:
        form.check()
    except ValidationError as invalid:
        assert invalid.details
        errors: Any = invalid.details["errors"]
        return [error["message"] for error in errors]
    return []


class FieldValidatorTests(SynchronousTestCase):
    def check(
        self, field: str, read: Callable[[FieldValidator], object], good: list[object], bad: list[object]
    ) -> None:
        for value in good:
            self.assertEqual(faults(read, **{field: value}), [], ascii(value))
        for value in bad:
            self.assertNotEqual(faults(read, **{field: value}), [], ascii(value))

    def test_email(self) -> None:
        # 64 characters before the @, labels of 63 behind it: 255 in all, then 256.
        tail = ".".join(["d" * 63] * 2)
        longest = "l" * 64 + "@" + tail + "." + "e" * (255 - 64 - 1 - len(tail) - 1 - 3) + ".fr"
        self.assertEqual(len(longest), 255)
        self.check(
            "email",
            FieldValidator.email,
            ["a@b.org", "first.last+tag@sub.example.co", " a@b.org ", "o'neil@x-y.ie", longest],
            ["", "a", "a@", "@b.org", "a@b", "a b@c.org", ".a@b.org", "a.@b.org", "a..b@c.org", "a@-b.org"]
            + [
                "a@b..org",
                "a@b.org\0",
                "a\n@b.org",
                "l" * 65 + "@b.org",
                longest + "r",
                1,
                None,
                ["a@b.org"],
            ],
        )

    def test_email_of_any_script(self) -> None:
        """SMTPUTF8 before the @, IDNA 2008 behind it; tests/core/test_mailbox.py has more."""
        self.check(
            "email",
            FieldValidator.email,
            ["info@bücher.example", "用户@例子.公司", "é" * 32 + "@b.org"],
            ["info@☃.example", "a\u202eb@c.org", "é" * 33 + "@b.org"],
        )

    def test_name(self) -> None:
        """Letters of any script, with their marks."""
        self.check(
            "name",
            FieldValidator.name,
            ["Al", "x" * 100, "Anne-Marie O'Neil", "Łukasz", "李小龙", "مريم", "नरेन्द्र", "D’Arcy", " Al "],
            ["A", "", "x" * 101, "R2D2", "a@b", "--", "''", "a\tb", "a\0b", "<b>", "a\nb", 7, None],
        )

    def test_what_stands_between_the_parts_of_a_name(self) -> None:
        parts = "Persian می\u200cخواهم, Malayalam അജയന്\u200d, Catalan Gal·la, Hebrew בן־גוריון צ׳רצ׳יל רש״י, "
        parts += "Hawaiian Kaʻiulani, Japanese ジャン・クロード ｼﾞｬﾝ･ｸﾛｰﾄﾞ, Irish O`Neil, Ukrainian Дем’ян, no\u00a0break"
        spaces = ["Ann" + space + "Lee" for space in " \u00a0\u1680\u2003\u2009\u202f\u205f\u3000"]
        dashes = ["Ann" + dash + "Lee" for dash in "-\u2010\u2011\u2013\u2014\u2212\u05be\u30a0\u301c"]
        hidden = "\u200b\u200e\u202e\u2060\ufeff\u00ad\u3164\u2028\u0085"
        self.check(
            "name",
            FieldValidator.name,
            [*parts.split(", "), *spaces, *dashes],
            ["Ann" + character + "Lee" for character in hidden] + ["··", "Ann & Lee", "Ann\u2022Lee"],
        )

    def test_joiners_are_between_letters(self) -> None:
        """Elsewhere they are not seen, and two names would look the same."""
        self.check(
            "name",
            FieldValidator.name,
            ["ab\u200ccd", "ab\u200dcd", "ക്\u200d ab", "e\u0301\u200cx"],
            ["\u200cab", "ab\u200c", "ab\u200d cd", "ab\u200c\u200ccd", "ab-\u200dcd", "ക\u200d"],
        )

    def test_which_character_is_refused(self) -> None:
        """By the name that Unicode has for it, as nobody sees some of them."""
        only = "May hold letters, spaces, hyphens, apostrophes and middle dots only: it has "
        for name, said in (
            ("Ann\u200d Lee", "U+200D ZERO WIDTH JOINER, which may only join letters"),
            ("\u200cAnn", "U+200C ZERO WIDTH NON-JOINER, which may only join letters"),
            ("Ann\u202e", "U+202E RIGHT-TO-LEFT OVERRIDE"),
            ("A\tB", "U+0009"),
            ("Ann_1_1", "U+005F LOW LINE, U+0031 DIGIT ONE"),
            ("Ann 123", "U+0031 DIGIT ONE, U+0032 DIGIT TWO, U+0033 DIGIT THREE"),
            ("Ann 12345", "U+0031 DIGIT ONE, U+0032 DIGIT TWO, U+0033 DIGIT THREE and 2 more"),
        ):
            form = FieldValidator({"name": name})
            form.name()
            self.assertEqual([fault.message for fault in self.faults(form)], [only + said])
        for email, said in (
            ("ann\u200b@example.org", "Invalid email address: it has U+200B ZERO WIDTH SPACE"),
            ("ann\ufe0f@example.org", "Invalid email address: it has U+FE0F VARIATION SELECTOR-16"),
            ("ann@@example.org", "Invalid email address"),
        ):
            form = FieldValidator({"email": email})
            form.email()
            self.assertEqual([fault.message for fault in self.faults(form)], [said])

    def faults(self, form: FieldValidator) -> tuple[FieldError, ...]:
        return self.assertRaises(ValidationError, form.check).errors  # type: ignore[no-any-return]

    def test_names_and_passwords_are_kept_in_nfc(self) -> None:
        self.assertEqual(FieldValidator({"name": " Zoe\u0308 "}).name(), "Zoë")
        self.assertEqual(FieldValidator({"password": "Passwo\u0308rd-1"}).password(), "Passwörd-1")
        self.check("name", FieldValidator.name, ["e\u0301" * 100], ["e\u0301" * 101])

    def test_password(self) -> None:
        self.check(
            "password",
            FieldValidator.password,
            ["aA1!aaaa", "aA1!" + "a" * 68, "Pässwörd1 ", "aA1!" + "é" * 34],
            ["aA1!aaa", "aA1!" + "a" * 69, "aA1!" + "é" * 35, "aa1!aaaa", "AA1!AAAA", "aaA!aaaa", "aA1aaaaa"]
            + ["aA1!aaa\0", 12345678, None],
        )

    def test_a_character_of_a_password_is_one_that_people_see(self) -> None:
        """With its marks, whether or not there is a code point for the two; so a mark is not the "other" character."""
        q = "q\u0301"  # in no normalization form one code point
        self.assertEqual(len(q), 2)
        self.check(
            "password",
            FieldValidator.password,
            ["aA1!" + q * 4, "aA1!aaa" + "👨\u200d👩\u200d👧", "aA1!" + "e\u0301" * 34],
            ["aA1!" + q * 3, "aA1!aa" + "👨\u200d👩\u200d👧", "aA1" + q * 5],
        )
        self.assertEqual(
            faults(FieldValidator.password, password="aA1" + q * 5),
            ["Must have a character that is neither letter nor digit"],
        )

    def test_a_password_is_told_all_that_it_lacks(self) -> None:
        """Nothing is cut silently (docs/predecessor-faults.md#fault-16)."""
        self.assertEqual(
            faults(FieldValidator.password, password="é" * 129),
            [
                "Must have 8 to 128 characters",
                "Must have at most 72 bytes in UTF-8",
                "Must have an upper-case letter",
                "Must have a digit",
                "Must have a character that is neither letter nor digit",
            ],
        )

    def test_content_and_channel(self) -> None:
        self.check(
            "content", FieldValidator.content, ["x", "x" * 10_000, "\n"], ["", "x" * 10_001, "a\0", 1, None]
        )
        self.check(
            "channelId", FieldValidator.channel_id, ["c", "c" * 100, "c.9 *", None], ["", "c" * 101, "a\0", 1]
        )

    def test_a_channel_to_list_may_be_one_of_the_predecessors(self) -> None:
        self.check(
            "channelId", FieldValidator.channel_filter, ["c", "c" * 255], ["", "c" * 256, "a\0", 1, None]
        )

    def test_ids(self) -> None:
        self.check(
            "id", lambda form: form.uuid("id"), [UUID, UUID.upper()], ["", UUID[1:], UUID + "0", "x", 1, None]
        )
        self.assertEqual(FieldValidator({"id": UUID.upper()}).uuid("id"), UUID)

    def test_a_name_for_the_request(self) -> None:
        self.check(
            "id", FieldValidator.ref, ["x" * 255, "", 0, -1.5, 10**30, None], ["x" * 256, True, [], {}]
        )
        self.assertEqual(
            [FieldValidator({"id": id}).ref() for id in ("a", 7, None, [])], ["a", 7, None, None]
        )

    def test_optional_text(self) -> None:
        self.check("after", lambda form: form.optional_text("after"), ["x", "", None], [1, True, []])
        forms = [FieldValidator({"after": "x"}), FieldValidator({"after": None}), FieldValidator({})]
        self.assertEqual([form.optional_text("after") for form in forms], ["x", None, None])

    def test_paging(self) -> None:
        """Every list takes 1 to 100, defaults 1 and 20 (docs/predecessor-faults.md#fault-20)."""
        self.check(
            "limit", paging, [1, 100, "1", "100", None], [0, 101, -1, 10**6, 1.5, "1.5", "x", "", True]
        )
        self.check("page", paging, [1, 2**31 - 1, None], [0, -1, 2**31, 10**30, "1e3", [1], False])
        self.assertEqual(paging(FieldValidator({})), (1, 20))
        self.assertEqual(paging(FieldValidator({"page": "3", "limit": 7})), (3, 7))

    def test_all_faults_are_listed(self) -> None:
        form = FieldValidator({"email": "x", "name": 1})
        form.email(), form.name(), form.password()
        form.add_error(None, "And another")
        invalid = self.assertRaises(ValidationError, form.check)
        self.assertEqual(
            invalid.details,
            {
                "errors": [
                    {"path": ["email"], "message": "Invalid email address"},
                    {"path": ["name"], "message": "Must be a string"},
                    {"path": ["password"], "message": "Required"},
                    {"path": [], "message": "And another"},
                ]
            },
        )

    def test_an_unknown_field_that_is_nearly_an_optional_one(self) -> None:
        """At two edits it is taken for it, at three, or with half of the letters another, it is somebody else's."""
        for name, meant in [
            ("metadat", "metadata"),
            ("metdta", "metadata"),
            ("Metadata", "metadata"),
            ("mtdta", None),
            ("meta", None),
            ("k", None),
            ("kye", "key"),
            ("token", None),
            ("ID", "id"),
            *((name, None) for name in ("ids", "uid", "_id", "to", "seq", "ref", "req", "tag")),
            *((name, "key") for name in ("ke", "keys", "KEY", "hey")),
            ("", None),
            ("x" * 1000, None),
        ]:
            form = FieldValidator({"data": 1, "id": 2, name: 3})
            form.json("data"), form.ref(), form.value("key"), form.optional_object("metadata")
            if meant is None:
                form.check()
            else:
                error = FieldError((name,), f"Unknown field: did you mean {meant}?")
                self.assertEqual(self.assertRaises(ValidationError, form.check).errors, (error,))

    def test_unknown_fields_where_required_ones_are_missing(self) -> None:
        form = FieldValidator({"text": "hi", "user": "bob"})
        form.content()
        form.require_any("recipientId", "channelId")
        self.assertEqual(
            [
                (list(error.path), error.message)
                for error in self.assertRaises(ValidationError, form.check).errors
            ],
            [
                (["content"], "Required"),
                ([], "At least one of recipientId, channelId is required"),
                (["text"], "Unknown field: did you mean content?"),
                (["user"], "Unknown field: did you mean content?"),
            ],
        )

    def test_what_other_requests_call_a_field_is_refused_where_it_is_known(self) -> None:
        """Ignored, a cursor would begin anew, and a key would send twice."""
        for name, known, meant in (
            ("cursor", ("page", "before", "after"), "before or after"),
            ("cursor", ("after",), "after"),
            ("lastEventId", ("after",), "after"),
            ("Last-Event-ID", ("after",), "after"),
            ("offset", ("page", "limit"), "page"),
            ("recipientId", ("userId", "channelId"), "userId or channelId"),
            ("key", (IDEMPOTENCY_HEADER,), IDEMPOTENCY_HEADER),
            ("idempotency_key", (IDEMPOTENCY_HEADER,), IDEMPOTENCY_HEADER),
            ("verb", ("pattern", "verbs"), "verbs"),
            ("cursor", ("metadata",), None),
            ("offset", ("after",), None),
            ("key", ("after",), None),
        ):
            errors = misspelt_fields([name], known)
            found = [error.message for error in errors]
            self.assertEqual(found, [] if meant is None else [f"Unknown field: did you mean {meant}?"], name)
        form = FieldValidator({"channelId": "a", "content": 1})
        form.text("topic"), form.json("data")
        told = {error.path: error.message for error in self.assertRaises(ValidationError, form.check).errors}
        self.assertEqual(told["channelId",], "Unknown field: did you mean topic?")
        self.assertEqual(told["content",], "Unknown field: did you mean data?")

    def test_no_name_is_repeated_that_may_be_a_secret(self) -> None:
        """A password in the place of a field's name, or a key, goes into no answer and no log."""
        for name, is_told in (
            ("n" * 32, True),
            ("n" * 33, False),
            ("Passw0rd!", False),
            ("é", False),
            ("1a", False),
        ):
            form = FieldValidator({name: "hi"})
            form.content()
            errors = self.assertRaises(ValidationError, form.check).errors
            self.assertEqual([error.path for error in errors], [("content",), (name,)][: 1 + is_told])

    def test_only_so_many_unknown_fields_are_looked_at(self) -> None:
        for others in (15, 16):
            form = FieldValidator({**{f"a-field-of-theirs-{n}": n for n in range(others)}, "kye": 1})
            form.value("key")
            if others == 15:
                self.assertRaises(ValidationError, form.check)
            else:
                form.check()

    def test_a_channel_with_and_without_a_topic(self) -> None:
        """`messages.channel.` has 17 bytes, so 238 are left of 255."""
        read = FieldValidator.topical_channel_id
        for longest in ("é" * 100, "\U0001f600" * 59 + "ab", "." * 79 + "a", "x" * 100):
            self.assertEqual(faults(read, channelId=longest), [])
        for too_long, size in (("\U0001f600" * 59 + "abc", 256), ("." * 79 + "ab", 256)):
            why = f"Its topic would have {size} bytes of UTF-8, at most 255"
            self.assertEqual(faults(read, channelId=too_long), [why])
            self.assertEqual(faults(FieldValidator.channel_id, channelId=too_long), [])
        self.assertEqual(faults(read, channelId="x" * 101), ["Must have 1 to 100 characters"])

    def test_what_is_too_long_is_not_looked_at_character_by_character(self) -> None:
        """A megabyte of what must be escaped in a topic held the reactor for 4 s, one of digits as a name for 1 s."""
        calls: list[str] = []
        sys.setprofile(lambda frame, event, _: calls.append(event))
        try:
            found = faults(FieldValidator.topical_channel_id, channelId="." * 10_000)
        finally:
            sys.setprofile(None)
        self.assertEqual(found, ["Must have 1 to 100 characters"])
        self.assertLess(len(calls), 1_000)
        self.assertEqual(faults(FieldValidator.name, name="1" * 101), ["Must have 2 to 100 characters"])
        self.assertEqual(
            faults(FieldValidator.password, password="x" * 256), ["Must have at most 72 bytes in UTF-8"]
        )

    @given(st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.lists(st.text())))
    def test_total(self, value: object) -> None:
        """Whatever a field holds, a form finds faults or a value, and raises nothing else."""
        for read in (
            FieldValidator.email,
            FieldValidator.name,
            FieldValidator.password,
            FieldValidator.content,
            FieldValidator.channel_id,
            FieldValidator.ref,
            paging,
        ):
            for field in ("email", "name", "password", "content", "channelId", "id", "page", "limit"):
                faults(read, **{field: value})
