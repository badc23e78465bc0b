"""The `zwerm` command: finds its verbs, runs one, turns its outcome into words and an exit code.

Verbs live beside the code that they drive: this package's own in `commands_*.py`, those of the roles (and of other people's packages) behind the
entry points `zwerm.commands`, each a list of click commands. They are loaded when the first screen or one of them is asked for, not before;
heavy libraries are imported inside the functions that need them, so that `zwerm --help` answers at once.
"""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import entry_points

import click

from protocol.errors import ZwermError

from .loop import first_named
from .output import Exit, Out, exit_code_of, whole_writes
from .verbs import HELP_SETTINGS
from .version import VERSION

__all__ = ["GROUPS", "Cli", "main"]

GROUPS: dict[str, tuple[str, ...]] = {
    "Swarm": ("init", "join", "invite", "nodes", "up", "down", "serve", "leave"),
    "Work": ("run", "runs", "events", "artifacts", "demo"),
    "Agents": ("agents", "models", "secrets"),
    "Look after it": ("status", "doctor", "halt", "help"),
}
"""The first help screen, in the order in which a newcomer needs the verbs."""

START_HERE = """\
This device is in no swarm yet.

  zwerm demo            see a whole swarm work on sample documents (a throwaway one, under a minute)
  zwerm init NAME       start a swarm on this device
  zwerm join TOKEN      add this device to a swarm (the token comes from `zwerm invite` on a device of it)
  zwerm --help          everything else"""


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
            context_settings=HELP_SETTINGS,
            help="One swarm of the machines and agents you already have.",
        )
        self._loaded: dict[str, click.Command] | None = None
        self.broken: dict[str, str] = {}
        """Entry points that could not be loaded, and why; `zwerm doctor` lists them."""

    def _verbs(self) -> dict[str, click.Command]:
        if self._loaded is None:
            from . import commands_node, commands_sim, commands_swarm

            found: dict[str, click.Command] = {}
            for verb in [*commands_swarm.COMMANDS, *commands_node.COMMANDS, *commands_sim.COMMANDS]:
                found[str(verb.name)] = verb
            for point in sorted(entry_points(group="zwerm.commands"), key=lambda point: point.name):
                try:
                    verbs = list(point.load())
                    if not all(isinstance(verb, click.Command) and verb.name for verb in verbs):
                        raise TypeError("not a list of click commands")
                except (Exception, SystemExit) as error:  # noqa: BLE001 - somebody else's package must not break the command
                    self.broken[point.name] = f"{type(error).__name__}: {error}"
                    continue
                for verb in verbs:
                    found.setdefault(str(verb.name), verb)
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
    sys.stdout = whole_writes(sys.stdout)
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
    except click.ClickException as error:
        out.failure(ZwermError("E_USAGE", error.format_message(), "See `zwerm --help`."))
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
        if first is None and not isinstance(group, ExceptionGroup):
            raise
        first = first or _unexpected(group.exceptions[0], arguments)
        out.failure(first)
        return exit_code_of(first)
    except Exception as error:  # noqa: BLE001 - a person gets words, a program its one document
        found = _unexpected(error, arguments)
        out.failure(found)
        return exit_code_of(found)
    return int(result) if isinstance(result, int) else Exit.OK


def _unexpected(error: BaseException, arguments: Sequence[str]) -> ZwermError:
    """What to say of a failure that nobody has named."""
    if any(argument == "--verbose" or argument.startswith("-v") for argument in arguments):
        traceback.print_exception(error)
    if isinstance(error, OSError):
        return ZwermError(
            "E_OS",
            f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}",
            "Check the path and its permissions.",
        )
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return ZwermError(
            "E_USAGE",
            f"{'.'.join(map(str, first['loc'])) or error.title}: {first['msg']}",
            "Check what you typed; `--help` after the command shows the forms.",
        )
    return ZwermError(
        "E_INTERNAL",
        f"{type(error).__name__}: {error}",
        "This is a defect of zwerm. Run the command again with -v to see where it happened, and report it.",
    )


if __name__ == "__main__":
    sys.exit(main())
