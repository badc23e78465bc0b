"""How a verb of the command is declared: the common options, and what every verb gets.

    @command()
    @click.argument("name")
    def hello(session: Session, name: str) -> int: ...

Counterpart: `cli` finds the verbs and runs one.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import click

from .loop import run_async
from .output import Out

__all__ = ["DURATION", "HELP_SETTINGS", "Session", "command", "run_async"]

HELP_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""How every verb and every group of verbs shows its help (click's context settings)."""


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
            "context_settings": HELP_SETTINGS,
            # A docstring with a backslash is a raw one, and click wants the character itself before lines that keep their form.
            "help": inspect.cleandoc(function.__doc__ or "").replace("\\b\n", "\b\n"),
            **options,
        }
        made: click.Command = click.command(name, **settings)(wrapped)  # type: ignore[no-untyped-call]
        return made

    return decorate
