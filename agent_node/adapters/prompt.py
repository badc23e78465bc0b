"""A subtask in words, for agents that are given a prompt: the packaged text `prompts/subtask.N.md` with the job's facts put in. Pure.

Names and parameters come from elsewhere: they are put into the text as data (JSON, and names without control characters), and file names are
those that the node chose. `PROMPT_VERSION` says which text it was.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from string import Template
from typing import Any, Final

from agent_node.errors import plain
from agent_node.job import InputPath, Job

__all__ = ["PROMPT_VERSION", "subtask_prompt"]

PROMPT_VERSION: Final = "subtask.1"
_WORK: Final = ("instructions", "task", "prompt", "goal", "question")
"""Parameters that say in words what to do: the first that is there is the work."""
_LISTED_MOST: Final = 500
_PARAMS_MOST: Final = 65_536


def subtask_prompt(job: Job) -> str:
    """What the agent is told."""
    said = next(
        (text for name in _WORK if isinstance(text := job.params.get(name), str) and text.strip()), ""
    )
    expected = _expected(job.params.get("expected") or job.params.get("acceptance"))
    return _template().substitute(
        work=plain(said, _PARAMS_MOST).strip()
        or f"Do what `{job.capability}` says, as the parameters tell you.",
        capability=job.capability,
        params=plain(json.dumps(job.params, ensure_ascii=False, indent=1), _PARAMS_MOST),
        inputs=_listed(job),
        expected=expected,
    )


def _listed(job: Job) -> str:
    lines = [_line(given) for given in job.inputs[:_LISTED_MOST]]
    if len(job.inputs) > _LISTED_MOST:
        lines.append(f"- and {len(job.inputs) - _LISTED_MOST} more in `in/`")
    lines += [
        f"- {json.dumps(plain(item['name'], 255), ensure_ascii=False)} is missing: {plain(item['message'], 500)}"
        for item in job.missing
    ]
    if job.previous:
        lines.append("\nAn earlier attempt left unfinished work; go on from it if it is good:\n")
        lines += [_line(given) for given in job.previous]
    return "\n".join(lines) or "None."


def _line(given: InputPath) -> str:
    name = json.dumps(plain(given.name, 255), ensure_ascii=False)
    return f"- `in/{given.path.name}`: {name}, {plain(given.media_type, 127)}, {given.size:,} bytes"


def _expected(expected: Any) -> str:
    if not expected:
        return ""
    text = expected if isinstance(expected, str) else json.dumps(expected, ensure_ascii=False, indent=1)
    return f"\n\nIt is good when this holds:\n\n{plain(text, _PARAMS_MOST)}"


@functools.cache
def _template() -> Template:
    return Template(files("agent_node").joinpath(f"prompts/{PROMPT_VERSION}.md").read_text(encoding="utf-8"))
