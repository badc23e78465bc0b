"""Shell: copies of artifacts that this node has had in its hands, by digest, so that the next step of a chain finds its input here.

Rules. The file's name is the digest of its content, checked when it was written; a copy is handed out as a file of its own, so that a job
cannot change what another one gets. The space is bounded: what was used longest ago goes first. It is emptied at every start. Losing any of
it loses nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final, NamedTuple

from protocol.artifact import ArtifactRef

__all__ = ["InputCache", "Kept"]

_BLOCK: Final = 256 * 1024


class Kept(NamedTuple):
    """What a new copy changed: the first 8 bytes of digests, with sizes for what came."""

    held: dict[bytes, int]
    gone: list[bytes]


class InputCache:
    """A bounded folder of artifacts. Its methods block for as long as copying a file takes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._sizes: OrderedDict[bytes, int] = OrderedDict()
        self._used = 0
        self._lock = threading.Lock()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)

    @property
    def used(self) -> int:
        """Bytes held."""
        return self._used

    def add(self, ref: ArtifactRef, content: bytes | Path) -> Kept | None:
        """Keep a copy if it is small against the whole; None if nothing was kept (a full disk means no more than that)."""
        with self._lock:
            if ref.sha256 in self._sizes or ref.size > self._limit // 4:
                return None
            path = self._folder / ref.digest
            try:
                if _copied(content, path) != ref.sha256:
                    path.unlink()
                    return None
            except OSError:
                with contextlib.suppress(OSError):
                    path.unlink()
                return None
            self._sizes[ref.sha256] = ref.size
            self._used += ref.size
            return Kept({ref.sha256[:8]: ref.size}, self._trim())

    def copy_to(self, ref: ArtifactRef, path: Path) -> bool:
        """Put a copy at `path`; False if there is none."""
        with self._lock:
            if self._sizes.get(ref.sha256) != ref.size:
                return False
            try:
                shutil.copyfile(self._folder / ref.digest, path)
            except OSError:
                with contextlib.suppress(OSError):
                    path.unlink()
                return False
            self._sizes.move_to_end(ref.sha256)
            return True

    def _trim(self) -> list[bytes]:
        gone: list[bytes] = []
        while self._used > self._limit:
            digest, size = self._sizes.popitem(last=False)
            self._used -= size
            gone.append(digest[:8])
            with contextlib.suppress(OSError):
                (self._folder / digest.hex()).unlink()
        return gone


def _copied(content: bytes | Path, path: Path) -> bytes:
    """Write a copy and return the digest of what was written: the source may have changed since it was stored."""
    digest = hashlib.sha256()
    with path.open("wb") as copy:
        if isinstance(content, bytes):
            digest.update(content)
            copy.write(content)
        else:
            with content.open("rb") as source:
                while block := source.read(_BLOCK):
                    digest.update(block)
                    copy.write(block)
    return digest.digest()
