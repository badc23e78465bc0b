"""A worker process: does jobs for a node, one after another, and is never trusted by it.

    node -> worker   {"t": "setup", "path", "limits", "writable"}, {"t": "job", ...}, {"t": "cancel"}; closed stdin: end
    worker -> node   {"t": "ready", "confined"}, {"t": "step", "n", "fraction", "note"}, {"t": "done", ...}, {"t": "failed", ...}

A step may also have state and wait_s, used (totals so far) and partial (name, path, media type); an ending has used if the job counted.

Frames are a 4-byte big-endian length and msgpack. The function's own prints go to stderr. Limits are set before the first job; the kernel
ends this process when the node dies. Counterpart: `worker_proc`. It imports the capability when the first job needs it, and little else.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import importlib.util
import inspect
import os
import queue
import resource
import shutil
import signal
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Final

import msgpack

from mesh.errors import no_room

from .confine_proc import confine
from .functions import Given, Job, JobCancelled, JobFailed, Output, Word, as_outputs
from .limits_proc import die_with_parent, set_limits
from .tree_proc import reap

__all__ = ["FRAME_MAX", "STEP_EVERY_S", "load_target", "main", "read_frame", "write_frame"]

FRAME_MAX: Final = 64 << 20
STEP_EVERY_S: Final = 0.1
"""Steps are told at most so often; the count goes on."""
_HEAD: Final = struct.Struct(">I")
_JOB_ERRORS: Final = (MemoryError, RecursionError)


def read_frame(stream: BinaryIO) -> dict[str, Any] | None:
    """The next frame, or None at the end of the stream."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    (length,) = _HEAD.unpack(head)
    body = stream.read(length)
    if len(body) < length:
        return None
    frame: dict[str, Any] = msgpack.unpackb(body)
    return frame


def write_frame(stream: BinaryIO, frame: dict[str, Any]) -> None:
    """Write one frame at once."""
    body = msgpack.packb(frame)
    stream.write(_HEAD.pack(len(body)) + body)
    stream.flush()


def load_target(target: str) -> Callable[..., Any]:
    """The function called `package.module:function`, or `/path/file.py:function`.

    Raises:
        JobFailed: `E_TARGET`, there is no such function, or its module cannot be imported.
    """
    where, _, name = target.rpartition(":")
    try:
        module = _module_of(where) if where.endswith(".py") else importlib.import_module(where)
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, SyntaxError, OSError, ValueError) as error:
        raise JobFailed("E_TARGET", f"{target} cannot be loaded: {error}", retry=True) from error
    if not callable(found):
        raise JobFailed("E_TARGET", f"{target} is no function", retry=True)
    function: Callable[..., Any] = found
    return function


def _module_of(file: str) -> ModuleType:
    name = "_zwerm_" + Path(file).stem
    known = sys.modules.get(name)
    if known is not None and known.__file__ == file:
        return known
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Worker:
    """The loop of one worker process."""

    def __init__(self, inlet: BinaryIO, outlet: BinaryIO, clock: Callable[[], float]) -> None:
        self._inlet = inlet
        self._outlet = outlet
        self._clock = clock
        self._jobs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._functions: dict[str, Callable[..., Any]] = {}
        self._cpu_limit_s = 0.0
        self._steps = 0
        self._told_at = float("-inf")
        self._fraction = 0.0
        self._used: dict[str, int] = {}
        self._partials = 0
        self._folder = Path()

    def run(self) -> None:
        """Work until the node closes its end."""
        setup = read_frame(self._inlet)
        if setup is None:
            return
        sys.path[:] = setup["path"]
        set_limits(setup["limits"])
        self._cpu_limit_s = float(setup["limits"].get("cpu_s", 0.0))
        # Before the first thread: what one thread gives up, the others would keep.
        confined = bool(setup["writable"]) and confine(setup["writable"], setup["path"])
        write_frame(self._outlet, {"t": "ready", "confined": confined})
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        while (frame := self._jobs.get()) is not None:
            self._do(frame)

    def _listen(self) -> None:
        while (frame := read_frame(self._inlet)) is not None:
            if frame["t"] == "cancel":
                self._cancelled.set()
            else:
                self._cancelled.clear()
                self._jobs.put(frame)
        self._jobs.put(None)

    def _do(self, frame: dict[str, Any]) -> None:
        self._steps, self._told_at, self._fraction = 0, float("-inf"), 0.0
        self._used, self._partials = {}, 0
        reap()
        before = _cpu_s()
        if self._cpu_limit_s > 0:
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            soft = int(before + self._cpu_limit_s) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
        folder = self._folder = Path(frame["dir"])
        os.environ["HOME"] = os.environ["TMPDIR"] = str(folder)
        try:
            os.chdir(folder)
            outputs = [
                _laid_out(output, index, folder) for index, output in enumerate(self._call(frame, folder))
            ]
            answer: dict[str, Any] = {"t": "done", "outputs": outputs}
        except JobCancelled:
            answer = {"t": "failed", "code": "E_CANCELLED", "message": "cancelled", "again": True}
        except BaseException as error:  # noqa: BLE001 - whatever a capability raises ends its job, not its worker
            answer = {"t": "failed", **_explained(error)}
        with contextlib.suppress(OSError):
            os.chdir("/")
        reap()
        if self._used:
            answer["used"] = self._used
        answer |= {"cpu_s": _cpu_s() - before, "rss_kib": _rss_kib()}
        sys.stdout.flush()
        write_frame(self._outlet, answer)

    def _call(self, frame: dict[str, Any], folder: Path) -> list[Output]:
        target = frame["target"]
        function = self._functions.get(target)
        if function is None:
            function = self._functions[target] = load_target(target)
        job = Job(
            capability=frame["capability"],
            params=frame["params"],
            inputs=[Given(name, Path(path), media_type) for name, path, media_type in frame["inputs"]],
            missing=frame["missing"],
            dir=folder,
            report=self._report,
            previous=[Given(name, Path(path), media_type) for name, path, media_type in frame["previous"]],
            caps=frame["caps"],
            used=self._used,
            tell=self._tell,
        )
        returned = function(job)
        if inspect.iscoroutine(returned):
            returned = asyncio.run(returned)
        return as_outputs(returned)

    def _report(self, note: str, fraction: float) -> None:
        if self._cancelled.is_set():
            raise JobCancelled
        self._steps += 1
        self._fraction = float(fraction)
        now = self._clock()
        if now - self._told_at >= STEP_EVERY_S:
            self._told_at = now
            step = {"t": "step", "n": self._steps, "fraction": self._fraction, "note": str(note)[:200]}
            if self._used:
                step["used"] = self._used
            write_frame(self._outlet, step)

    def _tell(self, word: Word) -> None:
        """What is more than a step: said at once, except for mere counts, which the next step or the ending carries."""
        if self._cancelled.is_set():
            raise JobCancelled
        self._steps += 1  # what was spent, made or asked has moved the work
        only_counts = word.partial is None and word.state == "working"
        now = self._clock()
        if only_counts and now - self._told_at < STEP_EVERY_S:
            return
        self._told_at = now if only_counts else float("-inf")
        frame: dict[str, Any] = {
            "t": "step",
            "n": self._steps,
            "fraction": self._fraction,
            "note": str(word.note)[:200],
        }
        if word.state != "working":
            frame |= {"state": word.state, "wait_s": float(word.wait_s)}
        if self._used:
            frame["used"] = self._used
        if word.partial is not None:
            frame["partial"] = self._kept(word.partial)
        write_frame(self._outlet, frame)

    def _kept(self, output: Output) -> list[str]:
        """Put a copy aside: the function may go on writing into the file that it named."""
        kept = self._folder / "partial"
        kept.mkdir(mode=0o700, exist_ok=True)
        self._partials += 1
        path = kept / f"{self._partials:04d}"
        if isinstance(output.data, Path):
            shutil.copyfile(self._folder / output.data, path)
        else:
            path.write_bytes(output.data.encode("utf-8") if isinstance(output.data, str) else output.data)
        return [output.name, str(path), output.media_type or "application/octet-stream"]


def _rss_kib() -> int:
    """What this process holds now. `ru_maxrss` would not do: Linux hands it on from the process that forked us, however large that was."""
    try:
        pages = int(os.pread(_STATM, 128, 0).split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize() // 1024


def _open_statm() -> int:
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


_STATM: Final = _open_statm()
"""Opened at the start: a confined worker may open nothing there any more."""


def _cpu_s() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _laid_out(output: Output, index: int, folder: Path) -> list[str]:
    """Put an output where the node looks for it: `out/<number>`; names stay in the message, out of the file system."""
    if isinstance(output.data, Path):
        path = output.data if output.data.is_absolute() else folder / output.data
    else:
        path = folder / "out" / f"{index:04d}"
        data = output.data.encode("utf-8") if isinstance(output.data, str) else output.data
        path.write_bytes(data)
    return [output.name, str(path), output.media_type or "application/octet-stream"]


def _explained(error: BaseException) -> dict[str, Any]:
    if isinstance(error, JobFailed):
        return {
            "code": error.code,
            "message": error.message,
            "again": error.retry,
            "retry_s": float(error.retry_s),
        }
    code, message = getattr(error, "code", None), getattr(error, "message", None)
    if isinstance(code, str) and isinstance(message, str):
        hint = str(getattr(error, "hint", "") or "")
        return {
            "code": code,
            "message": f"{message} {hint}".strip(),
            "again": bool(getattr(error, "retryable", False)),
        }
    if isinstance(error, _JOB_ERRORS):
        return {"code": "E_MEMORY", "message": f"{type(error).__name__}: {error}", "again": True}
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return {
            "code": "E_OUTPUT_LIMIT",
            "message": "a file of the job is larger than allowed",
            "again": False,
        }
    if no_room(error):
        return {
            "code": "E_DISK_FULL",
            "message": "there was no room left on its disk for this work",
            "again": True,
        }
    if isinstance(error, SystemExit):
        return {"code": "E_WORK", "message": f"the function called exit({error.code})", "again": True}
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f" ({Path(where.tb_frame.f_code.co_filename).name}, line {where.tb_lineno})" if where else ""
    return {"code": "E_WORK", "message": f"{type(error).__name__}: {error}{place}", "again": True}


def main() -> None:
    """Run this process as a worker; its only argument is the process id of the node."""
    from mesh.clock import SystemClock

    die_with_parent(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inlet, outlet = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        Worker(inlet, outlet, SystemClock().monotonic).run()
    os._exit(0)
