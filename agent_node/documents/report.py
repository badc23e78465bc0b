"""The capability `report.assemble`: what was found in all documents as one Markdown report with citations.

Inputs are checked here, field by field, before `report_text` writes anything of them.
"""

from __future__ import annotations

from typing import Any

from . import keywords, schemas, summarize, tables
from .errors import DocumentError
from .extract import SCHEMA as ROWS
from .files import InputFile, OutputFile, Progress, load_json
from .report_text import report

__all__ = ["report_assemble"]


def _params(params: dict[str, Any]) -> tuple[str, str, list[tuple[str, str]]]:
    title, goal, skipped = params.get("title", "Report"), params.get("goal", ""), params.get("skipped", [])
    good = (
        isinstance(title, str)
        and isinstance(goal, str)
        and isinstance(skipped, list)
        and not set(params) - {"title", "goal", "skipped"}
    )
    good = good and all(
        isinstance(item, dict) and isinstance(item.get("name"), str) and isinstance(item.get("why"), str)
        for item in skipped
    )
    if not good:
        raise DocumentError(
            "E_PARAMS",
            f"report.assemble takes title, goal and skipped (a list of name and why), and was given {params!r:.200}.",
            "Correct the step in the plan.",
        )
    return title or "Report", goal, [(item["name"], item["why"]) for item in skipped]


def _load(file: InputFile) -> dict[str, Any]:
    import jsonschema  # 60 ms, for this capability alone

    value = load_json(file, (ROWS, summarize.SCHEMA, keywords.SCHEMA, tables.SCHEMA))
    schema = value["schema"]
    if schema == ROWS:
        return tables.check_rows(file.name, value)
    if schema == tables.SCHEMA:
        value["rows"] = []  # only what is told of the months is used
    contract = {
        summarize.SCHEMA: schemas.SUMMARY,
        keywords.SCHEMA: schemas.KEYWORDS,
        tables.SCHEMA: schemas.TABLE,
    }[schema]
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(contract).iter_errors(value))
    if error is not None:
        raise DocumentError(
            "E_INPUT",
            f"{file.name} says that it is {schema} but is not: {error.message:.200}.",
            "Make it again with its capability.",
        )
    return value


def report_assemble(params: dict[str, Any], inputs: list[InputFile], progress: Progress) -> list[OutputFile]:
    """`report.assemble`: rows.json, summary.json, keywords.json and table.json files in, `report.md` out.

    Params: `{"title": str, "goal": str, "skipped": [{"name": str, "why": str}]}`, all optional.

    Raises:
        DocumentError: `E_PARAMS`, `E_INPUT`.
    """
    title, goal, skipped = _params(params)
    values = []
    for number, file in enumerate(inputs):
        progress("reading", number / (len(inputs) + 1))
        values.append(_load(file))
    progress("writing", 0.9)
    return [OutputFile("report.md", report(title, goal, values, skipped).encode("utf-8"), "text/markdown")]
