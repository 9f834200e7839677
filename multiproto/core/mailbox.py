"""Mailbox addresses: which are valid, how they are stored and shown, and when two are one (docs/common.md#mailbox-addresses).

An address may have letters of any script on both sides of the "@" (RFC 6531).
A domain has two spellings, `bücher.example` and `xn--bcher-kva.example`
(IDNA 2008), which are one address here.
"""

from __future__ import annotations

import re
import unicodedata

import idna
import idna.uts46data  # else with the first address that needs it, when the descriptors may be used up

from ..base.unicode_text import fold, is_invisible, is_letter_or_mark, remove_joiners, to_nfc

MAX_LENGTH = 255  # characters of an address
MAX_LOCAL_BYTES = 64  # of UTF-8 (RFC 5321, 4.5.3.1.1, and RFC 6531, 3.2)
MAX_LABEL_LENGTH = 63  # characters between two dots of a domain: in ASCII, it has as many or more

# RFC 5321, 4.1.2: a Dot-string, and a Domain of two labels or more.
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})+")
_DOTS = re.compile("[.\u3002\uff0e\uff61]")  # that IDNA takes for one


def is_mailbox(text: str) -> bool:
    """Whether this is an address, in the form that `normalize_mailbox` gives."""
    local, at, domain = text.rpartition("@")
    return (
        bool(at)
        and len(text) <= MAX_LENGTH
        and len(local.encode(errors="replace")) <= MAX_LOCAL_BYTES
        and all(map(_is_atom, local.split(".")))
        and _is_domain(domain)
    )


def normalize_mailbox(text: str) -> str:
    """The address as it is stored and shown: in NFC, and a domain that is not ASCII in its canonical form."""
    local, at, domain = to_nfc(text.strip()).rpartition("@")
    return local + at + _to_unicode(domain)


def email_key(text: str) -> str:
    """The form in which addresses are compared, of any text: folded, and the domain in ASCII.

    It is stored: databases of a version with other keys are brought up to date by `storage.email_keys`.
    """
    local, at, domain = normalize_mailbox(text).rpartition("@")
    # Folded, an accent that stands alone is one on a space.
    return (fold(local) + at + fold(_to_ascii(domain))).strip()


def _to_unicode(domain: str) -> str:
    """The canonical spelling of a domain with letters that are not ASCII; any other text as it is."""
    if domain.isascii() or not _has_possible_length(domain):
        return domain
    try:
        return idna.decode(idna.encode(domain, uts46=True))
    except UnicodeError:
        return domain


def _to_ascii(domain: str) -> str:
    """The spelling of a canonical domain that is ASCII; any other text as it is."""
    if domain.isascii() or not _has_possible_length(domain):
        return domain
    try:
        return idna.encode(domain).decode()
    except UnicodeError:
        return domain


def _has_possible_length(domain: str) -> bool:
    """Whether `domain` is worth a conversion: rules of IDNA about digits take quadratic time in the length of a label."""
    return len(domain) <= MAX_LENGTH and all(len(label) <= MAX_LABEL_LENGTH for label in _DOTS.split(domain))


def _is_atom(text: str) -> bool:
    """Of what is not ASCII, RFC 6531 has everything; here there are letters, marks and numbers only.

    So nothing in an address is invisible, or turns the direction of the text around it.
    """
    return (
        _ATOM.fullmatch("".join("a" if _is_wide(each) else each for each in remove_joiners(text))) is not None
    )


def _is_wide(character: str) -> bool:
    """Whether it is a letter, mark or number that is not ASCII, and that one sees."""
    is_number = unicodedata.category(character)[0] == "N"
    return (
        not character.isascii()
        and (is_number or is_letter_or_mark(character))
        and not is_invisible(character)
    )


def _is_domain(text: str) -> bool:
    ascii_form = _to_ascii(text)
    if _DOMAIN.fullmatch(ascii_form) is None:
        return False
    try:
        for label in ascii_form.lower().split("."):
            if label.startswith("xn--"):
                idna.ulabel(label)
    except UnicodeError:
        return False
    return True
