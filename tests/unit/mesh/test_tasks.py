"""Tasks with an owner, and the loop that a command runs."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from mesh.loop import first_named, parent_gone, run_async
from mesh.tasks import background
from protocol.errors import ZwermError


async def test_background_tasks_end_with_the_block_and_are_awaited():
    ended: list[str] = []
    started = asyncio.Event()

    async def work() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("work")

    before = asyncio.all_tasks()
    async with background(work()):
        await started.wait()
    assert ended == ["work"]
    assert asyncio.all_tasks() == before


async def test_the_blocks_own_error_comes_out_as_it_is():
    with pytest.raises(KeyError):
        async with background(asyncio.Event().wait()):  # type: ignore[arg-type]
            raise KeyError("mine")


async def test_a_background_task_that_fails_is_told_and_does_not_end_the_block():
    failed: list[BaseException] = []
    told = asyncio.Event()

    async def work() -> None:
        raise RuntimeError("a defect")

    def on_failure(error: BaseException) -> None:
        failed.append(error)
        told.set()

    async with background(work(), on_failure=on_failure):
        await told.wait()
    assert [str(error) for error in failed] == ["a defect"]


async def test_a_block_that_ends_at_once_leaves_no_coroutine_unawaited():
    async def work() -> None:
        raise AssertionError("never begun")

    async with background(work()):
        pass


async def test_a_block_that_is_cancelled_takes_its_tasks_along():
    inside = asyncio.Event()

    async def owner() -> None:
        async with background(asyncio.Event().wait()):  # type: ignore[arg-type]
            inside.set()
            await asyncio.Event().wait()

    before = asyncio.all_tasks()
    task = asyncio.get_running_loop().create_task(owner())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before


def test_a_commands_coroutine_is_bounded_by_its_timeout():
    with pytest.raises(TimeoutError):
        run_async(asyncio.Event().wait(), timeout_s=0.01)


def test_a_signal_ends_a_commands_coroutine_after_its_clean_up():
    cleaned: list[bool] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt):
        run_async(work())
    assert cleaned == [True]


def test_a_program_may_run_a_coroutine_in_any_of_its_threads():
    results: list[int] = []

    async def work() -> int:
        return 7

    thread = threading.Thread(target=lambda: results.append(run_async(work())))
    thread.start()
    thread.join(20)
    assert results == [7]


async def test_a_process_notices_that_its_parent_is_gone():
    async with asyncio.timeout(5):
        await parent_gone(os.getpid())  # we are not our own parent


def test_a_command_that_follows_its_parent_ends_with_it():
    inner = (
        "import asyncio, os, sys\n"
        "from mesh.loop import run_async\n"
        "async def wait():\n"
        "    print('waiting', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "try:\n"
        "    run_async(wait(), parent=os.getppid())\n"
        "except KeyboardInterrupt:\n"
        "    print('ended', flush=True)\n"
    )
    outer = "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', sys.argv[1]])\ntime.sleep(600)\n"
    process = subprocess.Popen([sys.executable, "-c", outer, inner], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "waiting\n"
        process.kill()
        process.wait()
        assert process.stdout.readline() == "ended\n"


def test_of_several_failures_the_first_named_one_is_told_if_all_have_names():
    named = ZwermError("E_NO_BID", "nobody")
    assert first_named(BaseExceptionGroup("", [ExceptionGroup("", [named]), ZwermError("E_X")])) is named
    assert first_named(BaseExceptionGroup("", [named, RuntimeError("a defect")])) is None
