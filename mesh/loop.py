"""Running a coroutine as a whole process does: on uvloop where it exists, bounded, and ended by SIGTERM as by Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from protocol.errors import ZwermError

from .tasks import background

__all__ = ["first_named", "parent_gone", "run_async"]

T = TypeVar("T")


async def parent_gone(parent: int) -> None:
    """Return when the process `parent`, which started us, is our parent no more."""
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells a process of its parent's end
        await asyncio.sleep(0.5)


def run_async(
    main_coroutine: Coroutine[Any, Any, T], *, timeout_s: float | None = None, parent: int | None = None
) -> T:
    """Run a verb's coroutine on uvloop where it exists, with `--timeout` as its bound; it ends as by Ctrl-C when `parent` is gone.

    Raises:
        TimeoutError: the bound passed.
    """

    async def bounded() -> T:
        task = asyncio.current_task()
        assert task is not None
        # A plain SIGTERM would end the process at once, leaving children and half-written files.
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # or not in the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)

        async def follow_parent(parent: int) -> None:
            await parent_gone(parent)
            task.cancel()

        async with asyncio.timeout(timeout_s):
            if parent is None:
                return await main_coroutine
            async with background(follow_parent(parent)):
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
