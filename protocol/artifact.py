"""A result or input file, named by its content.

An artifact is immutable: its identity is the SHA-256 of its bytes. A reference says also how it lies in the workspace (how many chunks,
written by whom), because a reader fetches chunks by subject (SPEC ART-1) and checks the digest while it streams.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CHUNK_BYTES", "ArtifactRef"]

CHUNK_BYTES = 256 * 1024
"""Size of every chunk but the last: well under the bus's 1 MiB message limit, large enough that headers do not matter."""


class ArtifactRef(BaseModel):
    """Where an artifact is: `(sha256, bytes, chunks, writer)`; `writer` is the public bus key of the device that stored it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    sha256: Annotated[bytes, Field(min_length=32, max_length=32)]
    size: Annotated[int, Field(ge=0, le=1 << 40)]
    chunks: Annotated[int, Field(ge=0, le=1 << 22)]
    writer: Annotated[str, Field(pattern=r"^U[A-Z2-7]{55}$")]

    @property
    def digest(self) -> str:
        """The SHA-256 as 64 hex digits, as people and subjects write it."""
        return self.sha256.hex()
