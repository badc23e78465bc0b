"""How many tokens a text has, before anybody counted: an estimate that is meant to be too high. Pure.

    tokens = characters / 3 + 3/4 of the bytes that UTF-8 needs beyond one a character

English has 4 to 5 characters a token with every tokenizer in use, code and lists 3; other alphabets about one token a character, Chinese and
Japanese up to two. A server's own count, when it comes, replaces it.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["BYTES_PER_TOKEN", "MESSAGE_TOKENS", "tokens_of", "tokens_of_bytes"]

MESSAGE_TOKENS: Final = 12
"""What a message takes beside its text: role, marks, the template around it."""
BYTES_PER_TOKEN: Final = 3
"""Of text in ASCII, at least."""


def tokens_of(text: str) -> int:
    """About how many tokens a text has, rather more than fewer."""
    characters = len(text)
    beyond = len(text.encode("utf-8", "surrogatepass")) - characters
    return math.ceil(characters / BYTES_PER_TOKEN + 0.75 * beyond)


def tokens_of_bytes(size: int) -> int:
    """The same when only the size is known."""
    return math.ceil(size / BYTES_PER_TOKEN)
