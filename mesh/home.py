"""A node's state directory: where everything that this device knows about its swarm lies, and how it is written.

Rules. The directory is 0700 and every file 0600, owned by us. A file is replaced by write, fsync, rename: a crash leaves the old one or the
new one. What is secret (keys/, admin/) is read by nobody but the process that needs it. One home is one membership of one swarm.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import DiskFull, MeshError, no_room

__all__ = ["Home", "HomeBusy", "HomeDamaged", "NodeFile", "NotInSwarm", "locate_home", "private_write"]


_LOCK_TRIES, _LOCK_PAUSE_S = 10, 0.01


_ELSEWHERE = "Free some space on that disk, or choose another directory with --home DIR."


class NotInSwarm(MeshError):
    """This device is in no swarm yet."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("E_NO_SWARM", message, hint)


class HomeDamaged(MeshError):
    """A file of the state directory is missing or cannot be read."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("E_HOME", message, hint)


class HomeBusy(MeshError):
    """Another process is using this state directory."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("E_BUSY", message, hint)


class NodeFile(BaseModel):
    """`node.json`: what this device is in its swarm. Nothing in it is secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Annotated[str, Field(alias="schema")] = "zwerm.node/1"
    swarm: str
    swarm_id: str
    name: str
    node: str
    roles: list[str]
    bus_urls: list[str]
    bus_ca_sha256: str
    bind: str = ""
    bus_port: int = 0
    route_port: int = 0
    routes: list[str] = []
    """`host:port` of the other servers of the bus, on a device that runs one of several."""
    ephemeral: bool = False


def locate_home(flag: str | None = None) -> Path:
    """The state directory: the flag, else `ZWERM_HOME`, else the platform's own place for state (root: `/var/lib/zwerm`)."""
    if flag:
        return Path(flag).expanduser().resolve()
    if given := os.environ.get("ZWERM_HOME"):
        return Path(given).expanduser().resolve()
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/zwerm")
    import platformdirs

    return Path(platformdirs.user_state_dir("zwerm"))


def private_write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` with `data`, durably and privately.

    Raises:
        DiskFull: there is no space; the old file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if no_room(error):
            raise DiskFull(f"no space left for {path}", _ELSEWHERE) from None
        raise


class Home:
    """Typed access to one state directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def node_file(self) -> Path:
        """`node.json`, whose presence means: this device is in a swarm."""
        return self.path / "node.json"

    @property
    def exists(self) -> bool:
        """Whether this device is in a swarm."""
        return self.node_file.exists()

    def load(self) -> NodeFile:
        """What this device is.

        Raises:
            NotInSwarm: no swarm here yet.
            HomeDamaged: the file cannot be read.
        """
        try:
            return NodeFile.model_validate(json.loads(self.node_file.read_bytes()))
        except FileNotFoundError:
            raise NotInSwarm(
                f"this device is in no swarm (nothing in {self.path})",
                hint="Start one with `zwerm init NAME`, or join one with `zwerm join TOKEN`.",
            ) from None
        except (ValueError, ValidationError) as error:
            raise HomeDamaged(
                f"{self.node_file} cannot be read: {str(error).splitlines()[0]}",
                hint="Restore it from a backup, or leave with `zwerm leave --wipe` and join again.",
            ) from None
        except OSError as error:
            raise HomeDamaged(
                f"{self.node_file} cannot be read: {error.strerror}",
                hint="Run zwerm as the user that owns this directory, or choose another with --home.",
            ) from None

    def save(self, node: NodeFile) -> None:
        """Write `node.json`."""
        text = node.model_dump_json(by_alias=True, indent=1) + "\n"
        private_write(self.node_file, text.encode())

    def file(self, name: str) -> Path:
        """A path inside the home."""
        return self.path / name

    def read(self, name: str) -> bytes:
        """The content of a file of the home.

        Raises:
            HomeDamaged: it is missing or unreadable.
        """
        try:
            return self.file(name).read_bytes()
        except OSError as error:
            raise HomeDamaged(
                f"{self.file(name)} cannot be read: {error.strerror}",
                hint="Restore it from a backup, or leave with `zwerm leave --wipe` and join again.",
            ) from None

    def write(self, name: str, data: bytes) -> None:
        """Replace a file of the home, making its folder 0700 first."""
        path = self.file(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        private_write(path, data)

    def problems(self) -> list[str]:
        """What is unsafe about permissions here, in words (for `doctor`)."""
        found: list[str] = []
        if not self.path.exists():
            return found
        secret = ("keys/*", "admin/*", "secrets/*", "tokens/*", "nats/*.key")
        for path in [self.path, *(path for pattern in secret for path in sorted(self.path.glob(pattern)))]:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                found.append(f"{path} is a link")
            elif status.st_mode & 0o077:
                found.append(f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):o})")
            elif hasattr(os, "geteuid") and status.st_uid != os.geteuid():
                found.append(f"{path} belongs to another user")
        return found

    @contextlib.contextmanager
    def build(self) -> Iterator[Home]:
        """Make a home all at once: yields a scratch home beside it, which becomes this one when the block ends well, and nothing else.

        Raises:
            HomeBusy: there is a swarm here already, or another process is making one here.
            DiskFull: no space (nothing is left behind).
        """
        if self.exists:
            raise HomeBusy(
                f"this device is in a swarm already ({self.path})",
                hint="`zwerm status` shows it; `zwerm leave` takes the device out; --home DIR makes a second membership.",
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._scratch() as scratch:
                yield Home(scratch)
                if self.path.exists():
                    for leftover in sorted(scratch.iterdir(), key=lambda path: path.name == "node.json"):
                        leftover.replace(
                            self.path / leftover.name
                        )  # node.json last: it says that all is there
                    self.path.chmod(0o700)
                    scratch.rmdir()
                else:
                    scratch.replace(self.path)
        except (OSError, DiskFull) as error:
            if isinstance(error, DiskFull) or no_room(error):
                raise DiskFull(
                    f"no space left in {self.path.parent}; nothing was left behind", _ELSEWHERE
                ) from None
            raise HomeDamaged(
                f"cannot write {self.path}: {error.strerror}",
                hint="Choose another directory with --home DIR or ZWERM_HOME.",
            ) from None

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """An empty folder beside the home, ours alone while the block runs: what a killed process left in it is removed first."""
        scratch = self.path.with_name(f".{self.path.name}.new")
        scratch.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ours = os.path.samestat(os.fstat(descriptor), scratch.lstat()) and not self.exists
            except OSError:
                ours = False
            if not ours:
                raise HomeBusy(
                    f"another zwerm is setting up {self.path} at this moment",
                    hint="Let it finish; `zwerm status` shows the result.",
                )
            try:
                for leftover in scratch.iterdir():
                    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
                yield scratch
            except BaseException:
                shutil.rmtree(scratch, ignore_errors=True)
                raise
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the daemon's lock: at most one daemon runs on a home.

        Raises:
            HomeBusy: another one does.
        """
        path = self.file("daemon.lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            for tries_left in reversed(range(_LOCK_TRIES)):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    # Somebody who only looks (`daemon_pid`) holds it for a moment, too.
                    if tries_left:
                        time.sleep(_LOCK_PAUSE_S)
            else:
                raise HomeBusy(
                    f"zwerm is running on {self.path} already (process {self.daemon_pid() or '?'})",
                    hint="`zwerm status` shows it; `zwerm down` stops it.",
                ) from None
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def daemon_pid(self) -> int | None:
        """The process that holds the daemon's lock, or None when no daemon runs."""
        path = self.file("daemon.lock")
        try:
            descriptor = os.open(path, os.O_RDWR)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            text = os.read(descriptor, 32).decode("ascii", "replace").strip()
            return int(text) if text.isdigit() else None
        else:
            return None
        finally:
            os.close(descriptor)
