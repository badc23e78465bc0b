"""Why a document could not be used, in words for the person who gave it.

Every reader and transformer in this package raises `DocumentError` and nothing else for bad input; any other exception is a defect.
A run carries `code`, `message` and `hint` into its list of skipped files, so each must stand alone: what happened, why, what next.
"""

from __future__ import annotations

from protocol.errors import ZwermError

__all__ = ["CODES", "DocumentError"]

CODES: dict[str, str] = {
    "E_EMPTY": "the file has no content",
    "E_MISSING": "the file is not there any more",
    "E_BINARY": "the file is not text and no kind of document that can be read",
    "E_FORMAT": "the kind of document is known but cannot be read",
    "E_TOO_LARGE": "the file, or what it unpacks to, is over a limit",
    "E_ENCRYPTED": "the file is locked with a password",
    "E_NO_TEXT": "the document has pages but no text, as a scan has",
    "E_UNREADABLE": "the file is damaged, or may not be opened",
    "E_ENCODING": "the text's character encoding could not be found out",
    "E_UNSAFE": "the file contains a construct that is refused for safety",
    "E_PARAMS": "the parameters of the capability are wrong",
    "E_INPUT": "an input is not the kind of file that the capability takes",
    "E_NO_TABLE": "the document contains no table",
}
"""Every code that this package raises, with its meaning. Codes are stable: a plan or a test may rely on them."""


class DocumentError(ZwermError):
    """A document, or what was asked of it, is refused.

    `code` is a key of `CODES`; `message` says what happened to which file and why; `hint` says what to do next. The refusal is definite
    and trying again elsewhere gives the same answer, so it is not retryable.
    """

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(code, message.removesuffix("."), hint)
