"""What may be said in a swarm, to the byte: envelope, certificates, invites, messages, plans, journal records.

Pure: no module here does I/O or reads a clock (but `conformance`, a program). `SPEC.md` beside this file states it in numbered clauses, enough to
write another implementation; `vectors/` holds cases that any implementation can be checked against.
Reading order: `limits`, `errors`, `codec`, `signing`, `envelope`, `verify`, `messages`, `plan`, `records`.
"""

from __future__ import annotations

__all__ = ["PROTOCOL_VERSION"]

PROTOCOL_VERSION = 1
"""The wire format's number; a node accepts this one (and, from the next on, the one before)."""
