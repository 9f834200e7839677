"""Text as people write it, in any script: one spelling of what looks the same, and what counts as a character."""

from __future__ import annotations

import unicodedata

import regex

MAX_NORMALIZED_LENGTH = 1000  # characters; see `to_nfc`

_JOINERS = "\u200c\u200d"  # zero-width non-joiner and joiner
_VIRAMA = 9  # the combining class of the mark that takes a letter's vowel away
_GRAPHEME = regex.compile(r"\X")
_INVISIBLE = regex.compile(r"\p{Default_Ignorable_Code_Point}")


def to_nfc(text: str) -> str:
    """`text` in Unicode's normalization form C, so that an é is one character however it was typed.

    Text of more than `MAX_NORMALIZED_LENGTH` characters stays as it is, and should
    be refused: sorting the marks of a letter takes quadratic time, for 100,000 of
    them some ten seconds.
    """
    return unicodedata.normalize("NFC", text) if len(text) <= MAX_NORMALIZED_LENGTH else text


def fold(text: str) -> str:
    """The form in which identifiers are compared: one for all spellings that differ in nothing but case and compatibility.

    Unicode's NFKC_Casefold (chapter 3.13), until nothing changes: `ς` is `σ`, `ß` is `ss`, a full-width letter the one
    that it stands for, and what nobody sees is left out.  Text of more than `MAX_NORMALIZED_LENGTH` characters is in
    lower case only, and should be refused.
    """
    if text.isascii() or len(text) > MAX_NORMALIZED_LENGTH:
        return text.lower()
    text = unicodedata.normalize("NFD", text)  # sorts the marks, before the iota subscript becomes a letter
    while (folded := unicodedata.normalize("NFKC", _INVISIBLE.sub("", text.casefold()))) != text:
        text = folded
    return folded


def is_invisible(character: str) -> bool:
    """Whether nobody sees it: Unicode's default ignorables, some of which are letters or marks."""
    return _INVISIBLE.match(character) is not None


def split_graphemes(text: str) -> list[str]:
    """The characters that people see: extended grapheme clusters (UAX #29).

    A letter with its marks is one, and so is an emoji that several code points make up.
    """
    return _GRAPHEME.findall(text)


def code_point(character: str) -> str:
    """A character as Unicode calls it, also one that nobody sees: "U+200D ZERO WIDTH JOINER"."""
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()


def is_letter_or_mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"


def remove_joiners(text: str) -> str:
    """`text` without the zero-width joiners that are in their place.

    Persian has a non-joiner between two letters; in Malayalam and other Indic scripts
    a joiner may also end a word, behind a virama.  Anywhere else nobody sees it: two
    texts would look the same and be different.
    """
    return "".join(each for at, each in enumerate(text) if not _is_joiner_in_place(text, at))


def is_joiner(character: str) -> bool:
    """Whether it is one of the two that nobody sees."""
    return character in _JOINERS


def _is_joiner_in_place(text: str, at: int) -> bool:
    if text[at] not in _JOINERS or at == 0 or not is_letter_or_mark(text[at - 1]):
        return False
    is_before_letter = at + 1 < len(text) and is_letter_or_mark(text[at + 1])
    return is_before_letter or unicodedata.combining(text[at - 1]) == _VIRAMA
