"""What is shipped: a wheel with the four packages and all that they need at run time, and nothing else."""

from __future__ import annotations

import configparser
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("protocol", "mesh", "agent_node", "coordinator_node")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this checkout, built by the build backend that pyproject names."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(folder),
            str(ROOT),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [path] = folder.glob("zwerm-*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_has_the_four_packages_and_its_own_metadata_and_nothing_else(wheel: zipfile.ZipFile):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert len(tops) == len(PACKAGES) + 1


def test_every_file_of_the_packages_is_in_the_wheel_and_no_other(wheel: zipfile.ZipFile):
    there = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in wheel.namelist() if name.split("/")[0] in PACKAGES} == there


def test_the_wheel_carries_types_the_specification_the_vectors_and_the_samples(wheel: zipfile.ZipFile):
    names = set(wheel.namelist())
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert "protocol/SPEC.md" in names
    assert sum(name.startswith("protocol/vectors/") for name in names) > 300
    assert "agent_node/documents/samples/quotation-printing.pdf" in names


def test_the_wheel_names_its_license_and_its_command(wheel: zipfile.ZipFile):
    [info] = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
    points = configparser.ConfigParser(delimiters=("=",))
    points.read_string(wheel.read(f"{info}/entry_points.txt").decode())
    assert dict(points["console_scripts"]) == {"zwerm": "mesh.entry:main"}
    groups = {f"zwerm.{name}" for name in ("commands", "roles")}
    assert groups <= set(points.sections())
    assert "zwerm" not in {
        name.split("/")[0] for name in wheel.namelist()
    }  # there is no package of that name


def test_no_file_in_the_wheel_names_a_path_of_the_machine_that_built_it(wheel: zipfile.ZipFile):
    for name in wheel.namelist():
        assert str(ROOT).encode() not in wheel.read(name), name


def test_what_the_packages_import_is_what_the_project_depends_on():
    import ast
    import re
    from importlib.metadata import packages_distributions

    owners = {name: {owner.lower() for owner in found} for name, found in packages_distributions().items()}
    declared = {re.split(r"[<>=!~;\[ ]", one)[0].lower() for one in PROJECT["dependencies"]}
    extras = [
        one for name in ("fast", "models", "local", "acp") for one in PROJECT["optional-dependencies"][name]
    ]
    optional = {re.split(r"[<>=!~;\[ ]", one)[0].lower() for one in extras}
    used: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    used |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    used.add(node.module.split(".")[0])
    outside = used - set(sys.stdlib_module_names) - set(PACKAGES)
    unknown = {name for name in outside if not owners.get(name, {name}) & (declared | optional)}
    # Each is the other half of a library that is declared, which requires it and hands its types out.
    assert unknown <= {"pydantic_core", "referencing"}
