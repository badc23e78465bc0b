"""Running a coroutine as a whole process does: on uvloop where it exists, bounded, and ended by SIGTERM as by Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from protocol.errors import ZwermError

__all__ = ["first_named", "run_async"]

T = TypeVar("T")


def run_async(main_coroutine: Coroutine[Any, Any, T], *, timeout_s: float | None = None) -> T:
    """Run a verb's coroutine on uvloop where it exists, with `--timeout` as its bound.

    Raises:
        TimeoutError: the bound passed.
    """

    async def bounded() -> T:
        task = asyncio.current_task()
        assert task is not None
        # A plain SIGTERM would end the process at once, leaving children and half-written files.
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with asyncio.timeout(timeout_s):
            return await main_coroutine

    factory = None
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:  # Windows and other Pythons have the standard loop
        pass
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            return runner.run(bounded())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


def first_named(group: BaseExceptionGroup[BaseException]) -> ZwermError | None:
    """The first named failure in a task group's exceptions, provided that all of them are named."""
    named: ZwermError | None = None
    for error in group.exceptions:
        inner = first_named(error) if isinstance(error, BaseExceptionGroup) else error
        if not isinstance(inner, ZwermError):
            return None
        named = named or inner
    return named
