"""Tasks with an owner: started for the length of a block, cancelled and awaited at its end, never orphaned.

Unlike a `TaskGroup` the block's own exception comes out as it is; a background task that fails by itself is logged and told to `on_failure`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["background"]

log = logging.getLogger("zwerm.tasks")


@asynccontextmanager
async def background(
    *coroutines: Coroutine[Any, Any, None], on_failure: Callable[[BaseException], None] | None = None
) -> AsyncIterator[None]:
    """Run coroutines beside the block."""

    async def contained(coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("a background task failed")
            if on_failure is not None:
                on_failure(error)

    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(contained(coroutine)) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for coroutine in coroutines:
            coroutine.close()  # one that was cancelled before its first step was never begun
