"""Shell: a program's own small world, made by bubblewrap.

Inside there is the system's software (read-only), the job's three folders, an empty /tmp, and nothing else: no home, no keys, no network, no other
process, no environment but what is listed. It fails closed: where bubblewrap is missing or may not make namespaces, the agent is
not offered, unless its owner says `sandbox = "none"` in so many words.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from .errors import AdapterError

__all__ = ["INSIDE", "check_sandbox", "sandboxed"]

INSIDE: Final = Path("/job")
"""Where the job's directory is for a program in the sandbox."""
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SETTINGS: Final = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_NETWORK: Final = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl", "/etc/ca-certificates")
_HINT: Final = (
    "Install bubblewrap (`apt install bubblewrap`), or, if this program may see everything that zwerm's user may see, "
    'say sandbox = "none" for this agent.'
)
_TRY_S: Final = 10.0


def sandboxed(
    argv: list[str],
    job: Path,
    env: dict[str, str],
    *,
    network: bool = False,
    readable: Iterable[str] = (),
    writable: Iterable[str] = (),
    together: bool = False,
) -> list[str]:
    """The command line that runs `argv` in a sandbox around the job's directory.

    Args:
        argv: the program and its arguments; files that it names by absolute path can be read inside.
        job: the job's directory: `in` can be read inside, `out` and `work` written; `work` is where the program starts.
        env: the whole environment inside.
        network: let it use the network.
        readable: more files and folders that can be read inside.
        writable: files and folders that can be changed inside: an agent's own settings.
        together: `in` and `out` are inside the folder that it starts in, for agents that keep to the folder that they are started in.
    """
    words = [
        _bubblewrap(),
        "--unshare-all",
        "--unshare-user",
        "--disable-userns",
        "--die-with-parent",
        "--new-session",
    ]
    words += ["--cap-drop", "ALL", "--clearenv", "--hostname", "job"]
    if network:
        words.append("--share-net")
    for path in _SYSTEM:
        if Path(path).is_symlink():
            words += ["--symlink", str(Path(path).readlink()), path]
        else:
            words += ["--ro-bind-try", path, path]
    for path in (*_SETTINGS, *(_NETWORK if network else ())):
        words += ["--ro-bind-try", path, path]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - the sandbox's own
    if together:
        words += ["--dir", env["HOME"]]  # an empty one, but for what is opened in it below
    opened = [Path(path) for path in readable]
    named = [path for path in _named_files(argv) if not any(Path(path).is_relative_to(one) for one in opened)]
    for path in dict.fromkeys([*named, *map(str, opened)]):
        words += ["--ro-bind", path, path]
    for path in dict.fromkeys(writable):
        words += ["--bind", path, path]
    # Only these three: what the node keeps beside them (the program's own output, say) must not be exchanged for a link.
    start = INSIDE if together else INSIDE / "work"
    words += ["--bind", str(job / "work"), str(start)]
    words += ["--ro-bind", str(job / "in"), str(INSIDE / "in")]
    words += ["--bind", str(job / "out"), str(INSIDE / "out")]
    words += ["--chdir", str(start)]
    for name, value in env.items():
        words += ["--setenv", name, value]
    return [*words, "--", *argv]


def check_sandbox() -> None:
    """Try whether a sandbox can be made here.

    Raises:
        AdapterError: it cannot; the message has the reason.
    """
    problem = _problem()
    if problem:
        raise AdapterError(f"there is no sandbox for it: {problem}", _HINT)


@functools.cache
def _problem() -> str:
    if shutil.which("bwrap") is None:
        return "bubblewrap (bwrap) is not installed"
    probe = [_bubblewrap(), "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"]
    probe += ["--ro-bind", "/", "/", "--proc", "/proc", "--", "/bin/true"]
    try:
        done = subprocess.run(probe, capture_output=True, timeout=_TRY_S, check=False)  # noqa: S603 - words of our own
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (
        "" if done.returncode == 0 else done.stderr.decode("utf-8", "replace").strip()[:200] or "bwrap failed"
    )


def _bubblewrap() -> str:
    return shutil.which("bwrap") or "bwrap"


def _named_files(argv: list[str]) -> list[str]:
    """Files that the owner's command line names and that the system's folders do not hold."""
    program = shutil.which(argv[0]) or argv[0]
    found: list[str] = []
    for word in (program, *argv[1:]):
        path = Path(word)
        if (
            path.is_absolute()
            and path.is_file()
            and not any(path.is_relative_to(folder) for folder in _SYSTEM)
        ):
            found.append(word)
    return found
