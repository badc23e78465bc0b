"""The `zwerm` command: finds its verbs, runs one, turns its outcome into words and an exit code.

Verbs live beside the code that they drive: this package's own in `commands_*.py`, those of the roles (and of other people's packages) behind the
entry points `zwerm.commands`, each a list of click commands. They are loaded when the first screen or one of them is asked for, not before;
heavy libraries are imported inside the functions that need them, so that `zwerm --help` answers at once.
"""

from __future__ import annotations

import difflib
import functools
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any

import click

from protocol.errors import ZwermError

from .loop import first_named, run_async
from .output import Exit, Out, exit_code_of
from .version import VERSION

__all__ = ["GROUPS", "Cli", "Session", "command", "main", "run_async"]

GROUPS: dict[str, tuple[str, ...]] = {
    "Swarm": ("init", "join", "invite", "nodes", "up", "down", "leave"),
    "Work": ("run", "runs", "artifacts", "demo"),
    "Agents": ("agents",),
    "Look after it": ("status", "doctor", "help"),
}
"""The first help screen, in the order in which a newcomer needs the verbs."""

START_HERE = """\
This device is in no swarm yet.

  zwerm demo            see a whole swarm work on sample documents (a throwaway one, under a minute)
  zwerm init NAME       start a swarm on this device
  zwerm join TOKEN      add this device to a swarm (the token comes from `zwerm invite` on a device of it)
  zwerm --help          everything else"""


class Session:
    """What every verb gets: where the home is, how to speak, how long to wait."""

    def __init__(
        self, *, home: str | None, out: Out, verbose: int, timeout_s: float | None, yes: bool
    ) -> None:
        self.home_flag = home
        self.out = out
        self.verbose = verbose
        self.timeout_s = timeout_s
        self.yes = yes

    @property
    def home(self) -> Any:
        """The state directory (a `mesh.home.Home`)."""
        from .home import Home, locate_home

        return Home(locate_home(self.home_flag))

    def confirm(self, question: str) -> bool:
        """Ask a yes/no question; `--yes` answers it, and without a terminal the missing answer is an error.

        Raises:
            click.UsageError: nobody can be asked.
        """
        if self.yes:
            return True
        if not sys.stdin.isatty() or os.environ.get("CI") == "true":
            raise click.UsageError(f"{question} Nobody can be asked here: add --yes.")
        return click.confirm(question, err=True)


class Duration(click.ParamType[float]):
    """`30s`, `5m`, `2h`, `7d`, or plain seconds."""

    name = "duration"
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds as a float."""
        if isinstance(value, (int, float)):
            return float(value)
        text = str(value).strip().lower()
        scale = self.units.get(text[-1:], 0)
        try:
            seconds = float(text[:-1]) * scale if scale else float(text)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < 1e9:
            self.fail(f"{value!r} is not a duration like 30s, 5m, 2h or 7d", param, ctx)
        return seconds


DURATION = Duration()

_COMMON = (
    click.option(
        "--json", "as_json", is_flag=True, help="One JSON document (or one object a line) on stdout."
    ),
    click.option("-q", "--quiet", is_flag=True, help="No progress on stderr."),
    click.option("-v", "--verbose", count=True, help="Say more (repeat for more)."),
    click.option("--no-color", is_flag=True, help="No colours (as NO_COLOR=1)."),
    click.option(
        "--home", metavar="DIR", help="State directory (default: $ZWERM_HOME, or the platform's own)."
    ),
    click.option("--timeout", type=DURATION, metavar="30s", help="Give up after this long (exit 124)."),
    click.option("-y", "--yes", is_flag=True, help="Answer every question with yes."),
)


def command(name: str | None = None, **options: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a verb: a click command that also takes the common options and gets a `Session` as its first argument."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def call(
            *,
            as_json: bool,
            quiet: bool,
            verbose: int,
            no_color: bool,
            home: str | None,
            timeout: float | None,
            yes: bool,
            **rest: Any,
        ) -> Any:
            ctx = click.get_current_context()
            ctx.meta["zwerm.json"] = as_json
            out = Out.for_terminal(as_json=as_json, quiet=quiet, no_color=no_color)
            ctx.find_root().meta["zwerm.out"] = out
            root_home = ctx.find_root().params.get("home")
            session = Session(home=home or root_home, out=out, verbose=verbose, timeout_s=timeout, yes=yes)
            return function(session, **rest)

        wrapped: Any = call
        for option in reversed(_COMMON):
            wrapped = option(wrapped)
        settings: dict[str, Any] = {
            "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 100},
            **options,
        }
        made: click.Command = click.command(name, **settings)(wrapped)  # type: ignore[no-untyped-call]
        return made

    return decorate


class Cli(click.Group):
    """The root command: loads verbs on first use, groups them on the help screen, suggests the nearest for a mistyped one."""

    def __init__(self) -> None:
        super().__init__(
            "zwerm",
            invoke_without_command=True,
            callback=_root,
            params=[
                click.Option(
                    ["--version"],
                    is_flag=True,
                    is_eager=True,
                    expose_value=False,
                    callback=_version,
                    help="Print the version.",
                ),
                click.Option(
                    ["--home"],
                    metavar="DIR",
                    help="State directory (default: $ZWERM_HOME, or the platform's own).",
                ),
            ],
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
            help="One swarm of the machines and agents you already have.",
        )
        self._loaded: dict[str, click.Command] | None = None
        self.broken: dict[str, str] = {}

    def _verbs(self) -> dict[str, click.Command]:
        if self._loaded is None:
            from . import commands_node, commands_swarm

            found: dict[str, click.Command] = {}
            for verb in [*commands_swarm.COMMANDS, *commands_node.COMMANDS]:
                found[str(verb.name)] = verb
            for point in sorted(entry_points(group="zwerm.commands"), key=lambda point: point.name):
                try:
                    for verb in point.load():
                        found.setdefault(str(verb.name), verb)
                except Exception as error:  # noqa: BLE001 - somebody else's package must not break the command
                    self.broken[point.name] = f"{type(error).__name__}: {error}"
            self._loaded = found
        return self._loaded

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, by name."""
        return sorted(self._verbs())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One verb."""
        return self._verbs().get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but a mistyped verb names its nearest neighbours."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=2, cutoff=0.5)
            if near:
                names = " or ".join(f"`zwerm {name}`" for name in near)
                raise click.UsageError(f"{error.format_message()} Did you mean {names}?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help screen's groups; verbs of other packages come last."""
        verbs = self._verbs()
        listed = {name for names in GROUPS.values() for name in names}
        groups = {**GROUPS, "More": tuple(sorted(set(verbs) - listed))}
        for title, names in groups.items():
            rows = [
                (name, verbs[name].get_short_help_str(80))
                for name in names
                if name in verbs and not verbs[name].hidden
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"zwerm {VERSION}")
        ctx.exit()


def _root(home: str | None) -> None:
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is not None:
        return
    from .home import Home, locate_home

    if Home(locate_home(home)).exists:
        from .commands_node import status

        ctx.invoke(
            status, as_json=False, quiet=False, verbose=0, no_color=False, home=home, timeout=None, yes=False
        )
    else:
        click.echo(START_HERE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code. Installed as `zwerm`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    cli = Cli()
    as_json = "--json" in arguments
    out = Out.for_terminal(as_json=as_json, quiet=False, no_color="--no-color" in arguments)
    try:
        with cli.make_context("zwerm", arguments) as ctx:
            result = cli.invoke(ctx)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        out.failure(
            ZwermError(
                "E_USAGE",
                error.format_message(),
                f"See `{error.ctx.command_path if error.ctx else 'zwerm'} --help`.",
            )
        )
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        out.failure(ZwermError("E_INTERRUPTED", "stopped by Ctrl-C"))
        return Exit.INTERRUPTED
    except TimeoutError:
        out.failure(
            ZwermError(
                "E_TIMEOUT",
                "not finished within the time given by --timeout",
                "Allow more time, or look at `zwerm status`.",
            )
        )
        return Exit.TIMEOUT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except ZwermError as error:
        out.failure(error)
        return exit_code_of(error)
    except BaseExceptionGroup as group:
        first = first_named(group)
        if first is None:
            raise
        out.failure(first)
        return exit_code_of(first)
    return int(result) if isinstance(result, int) else Exit.OK


if __name__ == "__main__":
    sys.exit(main())
