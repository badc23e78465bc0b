"""The agent programs that zwerm knows by name: how each is started, where it keeps its own settings, and which version was tried.

Pure data. A preset only spares typing: whatever the node's configuration says takes its place, and nothing that comes over the wire does.
`tested` is the version that this project's own tests drive; "" says that nobody here has. Counterparts: `acp`, `headless`, `agents_detect`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = ["HEADLESS", "PRESETS", "Preset", "preset"]


@dataclass(frozen=True, slots=True)
class Preset:
    """One agent program."""

    name: str
    title: str
    acp: tuple[str, ...]
    """The command that speaks the Agent Client Protocol on its standard input and output."""
    install: str
    login: str
    """What to do when it says that it is not logged in."""
    state: tuple[str, ...] = ()
    """Folders of its own settings and sign-ins, which it may read and write; `~` is the home of zwerm's user."""
    env: dict[str, str] = field(default_factory=dict)
    """Mostly: no telemetry, no update, no download while it works for somebody else."""
    tested: str = ""
    headless: tuple[str, ...] = ()
    """The command that does one task and ends; the task comes on its standard input or as `TASK.md`."""
    version: tuple[str, ...] = ("--version",)

    @property
    def program(self) -> str:
        """Its name in PATH."""
        return self.acp[0]


_READ_TASK: Final = "Read the file TASK.md in this folder and do what it says."
"""For programs that take their task from the command line alone: fixed words, since nothing from elsewhere is ever put there."""

_ALL: Final = (
    Preset(
        "hermes",
        "Hermes Agent",
        ("hermes", "acp"),
        "pip install 'hermes-agent[acp]' (in an environment of its own)",
        "hermes model",
        state=("~/.hermes",),
        env={"HERMES_ACP_SKIP_CONFIGURED_MCP": "1"},
        tested="0.19.0",
        headless=("hermes", "-z", _READ_TASK, "--usage-file", "usage.json"),
    ),
    Preset(
        "kimi",
        "Kimi Code",
        ("kimi", "acp"),
        "npm install -g @moonshot-ai/kimi-code",
        "kimi login",
        state=("~/.kimi-code",),
        env={"KIMI_DISABLE_TELEMETRY": "1", "KIMI_CODE_NO_AUTO_UPDATE": "1"},
        headless=("kimi", "-p", _READ_TASK, "--output-format", "stream-json"),
    ),
    Preset(
        "openclaw",
        "OpenClaw",
        ("openclaw", "acp"),
        "npm install -g openclaw (Node 24.16 or later)",
        "openclaw onboard, and for ACP a running `openclaw gateway run`",
        state=("~/.openclaw",),
        env={"OPENCLAW_NO_AUTO_UPDATE": "1", "DO_NOT_TRACK": "1", "CI": "true"},
        headless=("openclaw", "agent", "exec", "--message-file", "-", "--cwd", ".", "--json"),
    ),
    Preset(
        "opencode",
        "OpenCode",
        ("opencode", "acp"),
        "npm install -g opencode-ai",
        "opencode auth login",
        state=(
            "~/.config/opencode",
            "~/.local/share/opencode",
            "~/.local/state/opencode",
            "~/.cache/opencode",
        ),
        env={
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        },
    ),
    Preset(
        "gemini",
        "Gemini CLI",
        ("gemini", "--acp"),
        "npm install -g @google/gemini-cli",
        "gemini, and choose how to sign in",
        state=("~/.gemini",),
        env={"GEMINI_CLI_TRUST_WORKSPACE": "true"},
    ),
    Preset(
        "qwen",
        "Qwen Code",
        ("qwen", "--acp"),
        "npm install -g @qwen-code/qwen-code",
        "qwen, and choose how to sign in",
        state=("~/.qwen",),
    ),
    Preset(
        "codex",
        "Codex",
        ("codex-acp",),
        "npm install -g @agentclientprotocol/codex-acp",
        "codex login",
        state=("~/.codex",),
        headless=("codex", "exec", "--json", "--skip-git-repo-check", "-"),
    ),
    Preset(
        "claude",
        "Claude Code",
        ("claude-agent-acp",),
        "npm install -g @agentclientprotocol/claude-agent-acp",
        "claude, and then /login",
        state=("~/.claude",),
        env={
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_AUTOUPDATER": "1",
        },
        headless=("claude", "-p", "--output-format", "json"),
    ),
    Preset(
        "vibe",
        "Mistral Vibe",
        ("vibe-acp",),
        "pip install mistral-vibe (Python 3.12 or later)",
        "vibe --setup",
        state=("~/.vibe",),
    ),
)

PRESETS: Final[dict[str, Preset]] = {one.name: one for one in _ALL}
HEADLESS: Final[dict[str, Preset]] = {one.name: one for one in _ALL if one.headless}


def preset(name: str | None) -> Preset | None:
    """The preset of this name, or None."""
    return PRESETS.get(name or "")
