"""Server-sent events, read as their bytes arrive. Pure.

Only the data of events is of interest here. A line ends with CR, LF or both, wherever the network cut the stream; an event ends with an empty line.
"""

from __future__ import annotations

from typing import Final

__all__ = ["EventReader", "StreamError"]

_EVENT_MAX: Final = 4 << 20


class StreamError(ValueError):
    """What came is no stream of events."""


class EventReader:
    """Turns bytes into the data of events."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[str] = []
        self._size = 0
        self._after_cr = False
        self._begun = False

    @property
    def open(self) -> bool:
        """Whether something has come of an event that is not complete."""
        return bool(self._rest or self._data)

    def feed(self, data: bytes) -> list[str]:
        """The events that these bytes complete.

        Raises:
            StreamError: a line is not UTF-8, or an event is too large.
        """
        found: list[str] = []
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
        if data:
            self._after_cr = data.endswith(b"\r")
        pieces = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for number, piece in enumerate(pieces):
            self._rest += piece
            if len(self._rest) + self._size > _EVENT_MAX:
                raise StreamError(f"an event of the stream has more than {_EVENT_MAX:,} bytes")
            if number == len(pieces) - 1:
                break
            line = bytes(self._rest)
            self._rest.clear()
            self._line(line, found)
        return found

    def _line(self, line: bytes, found: list[str]) -> None:
        if not self._begun:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._begun = True
        if not line:
            if self._data:
                found.append("\n".join(self._data))
            self._data, self._size = [], 0
            return
        name, _, value = line.partition(b":")
        if name != b"data":
            return
        try:
            self._data.append(value.removeprefix(b" ").decode("utf-8"))
        except UnicodeDecodeError:
            raise StreamError("the stream is not UTF-8") from None
        self._size += len(value)
