"""Is a result good? A core: bytes and a JSON Schema in, a reason (or nothing) out.

Rules. A result counts only after this. A schema is part of a plan, so it is checked when the plan is made (`check_schema`), never fetches anything from
elsewhere, and may not be enormous. What is wrong is said with its place, in one sentence. Counterpart: `checking_store` fetches the bytes.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any, Final

from protocol.messages.base import JsonObject

__all__ = ["CHECKED_BYTES_MAX", "SCHEMA_BYTES_MAX", "Acceptance", "check_schema"]

CHECKED_BYTES_MAX: Final = 32 << 20
"""Largest output that is checked against a schema; decoding takes several times its size in memory."""
SCHEMA_BYTES_MAX: Final = 64 * 1024
_KEPT: Final = 64
_PLACE_MAX: Final = 200


def check_schema(schema: JsonObject) -> str:
    """What is wrong with a schema, in one sentence; empty when nothing is."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    if len(json.dumps(schema)) > SCHEMA_BYTES_MAX:
        return f"the schema is larger than {SCHEMA_BYTES_MAX // 1024} KiB"
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "the schema"
        return f"{place}: {error.message}"[:500]
    return ""


class Acceptance:
    """Checks results; keeps the schemas it met last, compiled."""

    def __init__(self) -> None:
        self._validators: OrderedDict[str, Any] = OrderedDict()

    def check(self, data: bytes, schema: JsonObject) -> str:
        """Why the first output does not satisfy the schema; empty when it does."""
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            return f"the output is not JSON ({type(error).__name__}: {error})"[:500]
        return self._first_error(value, schema)

    def _first_error(self, value: Any, schema: JsonObject) -> str:
        from jsonschema.exceptions import ValidationError
        from referencing.exceptions import Unresolvable

        try:
            error: ValidationError | None = next(self._validator(schema).iter_errors(value), None)
        except Unresolvable as missing:
            return f"the schema refers to {missing.ref!r}, which is not in it"[:500]
        except RecursionError:
            return "the output is nested too deeply to be checked"
        if error is None:
            return ""
        place = "/".join(map(str, error.absolute_path))[:_PLACE_MAX]
        message = error.message if len(error.message) <= 300 else f"{error.message[:300]} ..."
        return f"at {place}: {message}" if place else message

    def _validator(self, schema: JsonObject) -> Any:
        from jsonschema import Draft202012Validator
        from referencing import Registry

        key = json.dumps(schema, sort_keys=True)
        validator = self._validators.get(key)
        if validator is None:
            # An empty registry: a reference to anything outside the schema is an error, not a request to somewhere.
            registry: Registry[Any] = Registry()
            validator = self._validators[key] = Draft202012Validator(schema, registry=registry)
            if len(self._validators) > _KEPT:
                self._validators.popitem(last=False)
        self._validators.move_to_end(key)
        return validator
