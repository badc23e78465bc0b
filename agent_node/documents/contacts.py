"""Finds e-mail addresses and links.

Values are normalised just enough to compare them: an address's domain, and a link's scheme and host, in lower case. Punctuation that the
sentence put behind a link is left out, brackets that belong to it stay. Every "@" and every "://" is looked at once.
"""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from .spans import Found

__all__ = ["address_of", "find_emails", "find_links", "link_value"]

_URL = re.compile(
    r"(?<![\w@])(?:(?:https?|ftps?)://|www\.(?=[\w-]{1,63}\.\w))[^\s<>\"`^{}|\\\u00a0“”«»]{1,2000}",
    re.IGNORECASE,
)
_HOST = re.compile(
    r"(?:[^\s/@]{1,200}@)?(\[[0-9a-fA-F:.]{2,45}\]|[\w-]{1,63}(?:\.[\w-]{1,63}){0,10}\.?)(?::\d{1,5})?(?=[/?#]|\Z)",
    re.UNICODE,
)
_WRAPPED = re.compile(r"[ ]?\n((?=\S{0,300}[./])[\w~%-][^\s<>\"`^{}|\\]{0,299})(?=\n|\Z)(?<![.,;:!?])")
"""The rest of a link that a narrow column broke behind "-" or "/": a line of one word with a point or a slash in it."""

_TRAILING = ".,;:!?'\"*_~…’"
_PAIRS = {")": "(", "]": "["}

_LOCAL_BACKWARDS = re.compile(r"[\w.!#$%&'*+/=?^~-]{1,64}")
_DOMAIN = re.compile(r"((?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}([^\W\d_][\w-]{0,22}[^\W_]))(?![\w@])")
_SPELLED = re.compile(
    r"(?<![\w.@])([\w.+-]{1,64})\s?(?:\(at\)|\[at\]|<at>|\{at\}|\s(?:at|AT)\s(?=[\w-]{1,63}(?:\s?(?:\(dot\)|\[dot\]|<dot>|\{dot\})|\s(?:dot|DOT)\s)))"
    r"\s?([\w-]{1,63}(?:(?:\.|\s?(?:\(dot\)|\[dot\]|<dot>|\{dot\})\s?|\s(?:dot|DOT)\s)[\w-]{1,63}){1,4})(?![\w@])",
    re.IGNORECASE,
)
_DOT = re.compile(r"\s?(?:\(dot\)|\[dot\]|<dot>|\{dot\})\s?|\sdot\s", re.IGNORECASE)
_FILE_SUFFIXES = """
css dll exe gif gz htm html jpeg jpg js json md mjs png py rs so svg tgz toml ts txt webp whl xml
yaml yml zip
"""
_FILES = frozenset(_FILE_SUFFIXES.split())
"""Last labels that show a file name (`icon@2x.png`) or a package (`left-pad@1.0.0.tgz`), not a domain."""


def find_links(text: str) -> list[Found]:
    """All http, https and ftp links, and those that begin with `www.`, in order."""
    found = []
    for match in _URL.finditer(text):
        raw = _trim(match[0])
        end = match.start() + len(raw)
        rest = _WRAPPED.match(text, match.end()) if match[0][-1] in "-/" else None
        if rest is not None:
            raw, end = match[0] + rest[1], rest.end(1)
        value = link_value(raw)
        if value:
            found.append(Found(match.start(), end, "link", value))
    return found


def _trim(raw: str) -> str:
    """The link without what the sentence around it added."""
    while raw:
        last = raw[-1]
        if last in _TRAILING or (last in _PAIRS and raw.count(last) > raw.count(_PAIRS[last])):
            raw = raw[:-1]
        elif raw.endswith(("&gt", "&quot")):
            raw = raw[: raw.rindex("&")]
        else:
            break
    # "[text](http://a.b)[more](http://c.d)" and "http://a.b](" are Markdown, not part of the link.
    cut = raw.find("](")
    if cut > 0:
        raw = raw[:cut]
    closed = raw.find(")[")
    return raw[:closed] if closed > 0 and raw.count(")") > raw.count("(") else raw


def link_value(raw: str) -> str:
    """The comparable form of a link, or "" when it is none (`http://` alone, or no host)."""
    scheme, divider, rest = raw.partition("://")
    if not divider:
        scheme, rest = "http", raw
    host = _HOST.match(rest)
    if host is None or not any(char.isalnum() for char in host[1]):
        return ""
    return f"{scheme.lower()}://{rest[: host.start(1)]}{host[1].lower()}{rest[host.end(1) :]}"


def find_emails(text: str) -> list[Found]:
    """All e-mail addresses, those written "name (at) host dot org" included, in order."""
    found = list(_plain_emails(text))
    lowered = text.lower()
    if "(at)" in lowered or "[at]" in lowered or "<at>" in lowered or "{at}" in lowered or "dot" in lowered:
        known = {item.start for item in found}
        found.extend(item for item in _spelled_emails(text) if item.start not in known)
    return sorted(found, key=lambda item: item.start)


def _plain_emails(text: str) -> Iterator[Found]:
    position = text.find("@")
    while position >= 0:
        after = position + 1
        local = _LOCAL_BACKWARDS.match(text[max(0, position - 64) : position][::-1])
        domain = _DOMAIN.match(text, after) if local is not None else None
        if local is not None and domain is not None and domain[2].lower() not in _FILES:
            name = _local_part(local[0][::-1])
            start = position - len(name)
            if name and not _is_address_of_something_else(text, start, domain.end()):
                yield Found(start, domain.end(), "email", f"{name}@{domain[1].lower()}")
        position = text.find("@", after)


def _local_part(raw: str) -> str:
    """The part before "@", without quotation marks and punctuation that stand before it."""
    raw = raw.lstrip(".!#$%&'*+/=?^~-")
    for divider in (
        "=",
        "/",
        "'",
        "..",
        "|",
        "#",
        "!",
        "&",
        "?",
        "*",
        "$",
        "^",
    ):  # "to=a@b.c", "x/y@b.c": rarely meant as one name
        raw = raw[raw.rfind(divider) + len(divider) :] if divider in raw else raw
    raw = raw.removeprefix("mailto:").lstrip(".-_")
    return "" if raw.endswith(".") else raw


def _is_address_of_something_else(text: str, start: int, end: int) -> bool:
    """`https://user@host/`, `git@host:repo`, `<id@host>` behind Message-ID, or key algorithms of ssh."""
    if text[end : end + 1] == ":" and text[end + 1 : end + 2].strip() and text[start:].startswith("git@"):
        return True
    line = text[max(0, start - 80) : start].rpartition("\n")[2].lower()
    return line.endswith("://") or "message-id:" in line or "in-reply-to:" in line or "references: <" in line


def _spelled_emails(text: str) -> Iterator[Found]:
    for match in _SPELLED.finditer(text):
        domain = _DOT.sub(".", match[2]).lower()
        top = domain.rpartition(".")[2]
        if top.isalpha() and len(top) > 1 and top not in _FILES:
            yield Found(match.start(), match.end(), "email", f"{match[1].strip('.-')}@{domain}")


def address_of(target: str) -> str:
    """The address in a `mailto:` link, normalised, or ""."""
    address = unquote(target[7:].partition("?")[0]).strip()
    found = find_emails(address)
    return found[0].value if len(found) == 1 else ""
