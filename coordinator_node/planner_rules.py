"""The planner that needs no model: a stated list of goal shapes, found by their words, each with its plan.

    extract    Find all dates and amounts in these contracts      read -> find -> table, report
    summarize  Summarise this folder                              read -> summary, keywords -> report
    table      Convert these files to a table                     every file's tables as CSV
    report     Report on this folder                              all of it: table.csv and report.md

Rules. English, German and Dutch words, in any case; the same goal gives the same plan. Which rule fired is in the plan's `planner`. A goal that none fits
is refused with this list. Negations and questions are not understood, and are not pretended to be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from protocol.plan import Plan

from .errors import GoalNotUnderstood, PlanInvalid
from .offers import FILES_MAX
from .planner import Request, checked_plan
from .schemas import OUTPUTS

__all__ = ["SHAPES", "RulePlanner", "Shape"]


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of goal: its name, what it delivers, and goals that have it."""

    name: str
    delivers: str
    examples: tuple[str, ...]


SHAPES: Final = (
    Shape(
        "extract",
        "table.csv and report.md with every date, amount, e-mail address or link that was found, and where",
        (
            "Find all dates and amounts in these contracts",
            "Extract e-mail addresses and links from the documents",
            "List the deadlines by month",
        ),
    ),
    Shape(
        "summarize",
        "report.md with the main sentences and keywords of each document",
        ("Summarise this folder", "What are these documents about", "Fasse diese Dokumente zusammen"),
    ),
    Shape(
        "table",
        "the tables of each file as CSV",
        ("Convert these files to a table", "Turn the invoices into CSV"),
    ),
    Shape(
        "report",
        "table.csv and report.md: summary, keywords, dates, amounts, addresses and links",
        ("Report on this folder", "Analyse these documents"),
    ),
)

_KINDS: Final[dict[str, str]] = {
    "date": r"dates?|deadlines?|due|days?|renewals?|expir\w*|when|appointments?|schedule|terms?"
    r"|datum|daten|termine?|fristen?|f[aä]llig\w*|data|datums?|deadlines?|vervaldat\w+|termijn\w*",
    "amount": r"amounts?|prices?|costs?|sums?|totals?|money|payments?|fees?|salar\w+|budgets?|euros?|dollars?"
    r"|betr[aä]ge?|preise?|kosten|summen?|zahlungen?|geb[uü]hren?|bedrag\w*|prijs|prijzen|kosten|betaling\w*",
    "email": r"e-?mails?|e-?mail[- ]?address\w*|mail ?address\w*|contacts?|e-?mail-?adress\w*|kontakte?|mailadress\w*|contacten",
    "link": r"links?|urls?|web ?sites?|web ?address\w*|hyperlinks?|webseiten?|verweise?|webadres\w*",
}
_EXTRACT: Final = (
    r"extract\w*|find|list|collect|gather|get|show|pull|look for|search\w*|identify|locate|which|what"
    r"|finde?n?|suche?n?|liste?n?|auflisten|sammle|sammeln|extrahier\w*|zeige?n?|zoek\w*|vind\w*|verzamel\w*|lijst\w*|haal\w*|toon"
)
_SUMMARIZE: Final = (
    r"summar\w*|digest|condense|shorten|overview|gist|key ?points?|tl;?dr|abstracts?|keywords?|about|topics?"
    r"|zusammenfass\w*|fasse?|fass|[üu]berblick|kernpunkte|stichw[oö]rter|samenvatt\w*|vat|overzicht|kernpunten|trefwoorden"
)
_TABLE: Final = r"tables?|csv|spreadsheets?|excel|tabelle?n?|tabel\w*|tabellen"
_CONVERT: Final = (
    r"convert\w*|turn|transform\w*|make|export\w*|change|into|to|as|wandle|umwandeln|konvertier\w*|mach\w*|exportier\w*|in"
    r"|zet|omzetten|converteer\w*|maak|naar|als"
)
_REPORT: Final = (
    r"reports?|report on|analy[sz]e\w*|analysis|review\w*|examine|audit|evaluat\w*|describe"
    r"|berichte?n?|bericht|analysier\w*|auswert\w*|untersuch\w*|beschreib\w*|rapport\w*|analyse\w*|onderzoek\w*|beschrijf"
)
_MONTHLY: Final = (
    r"by month|per month|monthly|month by month|nach monat\w*|pro monat|monatlich|per maand|maandelijks"
)


_REDUCED: Final = {"extract": 1, "summarize": 2, "table": 1, "report": 3}
"""Shape -> how many files the report is given for each document."""


def _has(words: str, text: str) -> bool:
    return re.search(rf"(?<![\w-])(?:{words})(?![\w-])", text) is not None


class RulePlanner:
    """Plans by rules."""

    def plan(self, request: Request) -> Plan:
        """See `planner.Planner`."""
        text = " ".join(request.goal.casefold().split())
        shape, kinds = _shape(text)
        if not request.inputs:
            skipped = f" ({len(request.skipped)} could not be read)" if request.skipped else ""
            raise PlanInvalid(
                f"the goal needs documents, and there are none{skipped}",
                "Name files or a folder: `zwerm run GOAL -i PATH`.",
            )
        most = FILES_MAX // _REDUCED[shape]
        if len(request.inputs) > most:
            raise PlanInvalid(
                f"{len(request.inputs):,} files are more than one report can be made of ({most:,})",
                "Submit them in several runs.",
            )
        draft = _Draft(request, kinds, monthly=_has(_MONTHLY, text))
        {
            "extract": draft.extract,
            "summarize": draft.summarize,
            "table": draft.convert,
            "report": draft.report,
        }[shape]()
        return checked_plan(
            {
                "schema": "zwerm.plan/1",
                "goal": request.goal,
                "planner": f"rule:{shape}",
                "inputs": [named.name for named in request.inputs],
                "subtasks": draft.subtasks,
                "deliver": draft.deliver,
            }
        )


def _shape(text: str) -> tuple[str, list[str]]:
    """Which shape the words have, and which kinds of things they name.

    Raises:
        GoalNotUnderstood: none.
    """
    kinds = [kind for kind, words in _KINDS.items() if _has(words, text)]
    summary, table, report = _has(_SUMMARIZE, text), _has(_TABLE, text), _has(_REPORT, text)
    if kinds and not summary and (_has(_EXTRACT, text) or table or report or _bare(text)):
        return "extract", kinds
    if kinds and summary:
        return "report", kinds
    if summary:
        return "summarize", []
    if table and (_has(_CONVERT, text) or _bare(text)):
        return "table", []
    if report:
        return "report", list(_KINDS)
    raise _not_understood()


def _bare(text: str) -> bool:
    """A goal of a few words, such as "dates and amounts", needs no verb."""
    return len(text.split()) <= 6


def _not_understood() -> GoalNotUnderstood:
    lines = [f'{shape.name} (e.g. "{shape.examples[0]}"): {shape.delivers}' for shape in SHAPES]
    return GoalNotUnderstood(
        "no rule understands this goal",
        "Without a model these are understood: " + "; ".join(lines) + ". Or give a plan: --plan FILE.",
    )


class _Draft:
    """A plan being written."""

    def __init__(self, request: Request, kinds: list[str], *, monthly: bool) -> None:
        self._request = request
        self._kinds = kinds
        self._monthly = monthly
        self._width = max(2, len(str(len(request.inputs))))
        self.subtasks: list[dict[str, Any]] = []
        self.deliver: list[dict[str, Any]] = []

    def extract(self) -> None:
        """Read, find, one table, one report."""
        found = self._each("find", "text.extract", self._read(), {"kinds": list(self._kinds)})
        self._table(found)
        self._report(found)

    def summarize(self) -> None:
        """Read, summarise and name keywords, one report."""
        texts = self._read()
        summaries = self._each("summary", "text.summarize", texts, {"sentences": 5})
        keywords = self._each("keywords", "text.keywords", texts, {"top": 12})
        self._report(summaries + keywords)

    def report(self) -> None:
        """Everything that can be found out."""
        texts = self._read()
        found = self._each("find", "text.extract", texts, {"kinds": list(self._kinds) or list(_KINDS)})
        summaries = self._each("summary", "text.summarize", texts, {"sentences": 5})
        keywords = self._each("keywords", "text.keywords", texts, {"top": 12})
        self._table(found)
        self._report([*summaries, *found, *keywords])

    def convert(self) -> None:
        """Each file's tables."""
        for number, named in enumerate(self._request.inputs, 1):
            name = self._name("table", number)
            self._add(name, "table.convert", f"table of {named.name}", inputs=[named.name])
            self.deliver.append({"subtask": name, "output": "table.csv"})
        if len(self.deliver) > 256:
            raise PlanInvalid(
                f"{len(self.deliver)} tables are more than one run delivers (256)",
                "Convert fewer files at a time.",
            )

    def _read(self) -> list[str]:
        names = []
        for number, named in enumerate(self._request.inputs, 1):
            names.append(self._name("read", number))
            self._add(names[-1], "doc.read", f"read {named.name}", inputs=[named.name])
        return names

    def _each(self, word: str, capability: str, needs: list[str], params: dict[str, Any]) -> list[str]:
        names = []
        for number, (need, named) in enumerate(zip(needs, self._request.inputs, strict=True), 1):
            names.append(self._name(word, number))
            self._add(names[-1], capability, f"{word} in {named.name}", needs=[need], params=params)
        return names

    def _table(self, found: list[str]) -> None:
        params = {"group_by": "month"} if self._monthly else {}
        self._add(
            "table", "table.assemble", "table of all findings", needs=found, params=params, tolerant=True
        )
        self.deliver.append({"subtask": "table", "output": "table.csv"})

    def _report(self, needs: list[str]) -> None:
        goal = self._request.goal.strip()
        title = goal if len(goal) <= 120 else goal[:117].rstrip() + "..."
        self._add(
            "report",
            "report.assemble",
            "report",
            needs=needs,
            params={"title": title, "goal": goal},
            tolerant=True,
        )
        self.deliver.append({"subtask": "report", "output": "report.md"})

    def _name(self, word: str, number: int) -> str:
        return f"{word}-{number:0{self._width}d}"

    def _add(self, name: str, capability: str, label: str, **more: Any) -> None:
        subtask: dict[str, Any] = {"id": name, "capability": capability, "label": label[:200], **more}
        schema = OUTPUTS.get(capability)
        if schema is not None:
            subtask["output_schema"] = schema
        self.subtasks.append(subtask)
