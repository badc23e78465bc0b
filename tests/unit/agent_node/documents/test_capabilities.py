"""The registry of document capabilities, their contract, and the sample documents of the demo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from agent_node.documents import CAPABILITIES
from agent_node.documents.errors import DocumentError
from agent_node.documents.files import InputFile, canonical_json, read_bytes
from agent_node.documents.samples import make, sample_files

from .conftest import Call, Put

SAMPLES = sample_files()


def test_the_capabilities_are_those_that_plans_name() -> None:
    assert list(CAPABILITIES) == [
        "doc.read",
        "text.extract",
        "text.keywords",
        "text.summarize",
        "table.assemble",
        "table.convert",
        "report.assemble",
    ]


@pytest.mark.parametrize("name", list(CAPABILITIES))
def test_a_capability_can_be_loaded_and_its_schemas_are_schemas(name: str) -> None:
    spec = CAPABILITIES[name]
    assert callable(spec.load())
    jsonschema.Draft202012Validator.check_schema(spec.params)
    for output in spec.outputs:
        if output.schema is not None:
            jsonschema.Draft202012Validator.check_schema(output.schema)


def test_naming_the_capabilities_imports_no_reader() -> None:
    code = "import sys, agent_node.documents; print([m for m in sys.modules if m.startswith(('pypdf', 'csv', 'xml', 'zipfile', 'decimal'))])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "name", ["doc.read", "text.extract", "text.keywords", "text.summarize", "table.convert"]
)
@pytest.mark.parametrize("count", [0, 2])
def test_a_capability_for_one_file_refuses_another_number(put: Put, name: str, count: int) -> None:
    with pytest.raises(DocumentError) as caught:
        CAPABILITIES[name].load()({}, [put("a.txt", b"x")] * count, lambda what, done: None)
    assert caught.value.code == "E_INPUT"


def test_reading_takes_no_parameters(put: Put) -> None:
    with pytest.raises(DocumentError) as caught:
        CAPABILITIES["doc.read"].load()({"ocr": True}, [put("a.txt", b"x")], lambda what, done: None)
    assert caught.value.code == "E_PARAMS"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_sample_document_goes_through_every_capability(path: Path, put: Put, call: Call) -> None:
    text = put("text.json", call("doc.read", [InputFile(path.name, path, "")])["text.json"])
    rows = json.loads(call("text.extract", [text])["rows.json"])["rows"]
    kinds = {row["kind"] for row in rows}
    assert {"date", "amount"} <= kinds
    assert json.loads(call("text.keywords", [text])["keywords.json"])["keywords"]
    json.loads(call("text.summarize", [text])["summary.json"])


def test_the_samples_are_of_every_kind_and_small() -> None:
    assert {path.suffix for path in SAMPLES} == {".txt", ".md", ".html", ".csv", ".pdf", ".docx"}
    assert sum(path.stat().st_size for path in SAMPLES) < 150_000


def test_the_sample_pdf_and_word_files_are_what_their_source_makes() -> None:
    folder = Path(make.__file__).parent
    assert (folder / "quotation-printing.pdf").read_bytes() == make.pdf_bytes(make.QUOTE_PAGES)
    assert (folder / "offer-annual-report.docx").read_bytes() == make.docx_bytes(make.OFFER)


def test_the_samples_have_the_facts_that_a_reader_finds_in_them(put: Put, call: Call) -> None:
    found = set()
    for path in SAMPLES:
        text = put("text.json", call("doc.read", [InputFile(path.name, path, "")])["text.json"])
        for row in json.loads(call("text.extract", [text])["rows.json"])["rows"]:
            found.add((path.name, row["value"], row.get("currency", ""), *row["at"].items()))
    assert {
        ("lease-agreement.txt", "3450.00", "EUR", ("line", 13)),
        ("invoices-2025.csv", "7840.75", "EUR", ("line", 6)),
        ("meeting-notes.md", "6290.00", "EUR", ("line", 8)),
        ("festival-page.html", "1100.00", "EUR", ("line", 24)),
        ("festival-page.html", "makers@lanterns.example", "", ("line", 17)),
        ("quotation-printing.pdf", "1075.00", "GBP", ("page", 2)),
        ("offer-annual-report.docx", "8990.00", "EUR", ("paragraph", 12)),
        ("letter-insurance.txt", "2025-12-31", "", ("line", 19)),
    } <= found


WHOLE_CHAIN = """
import hashlib, pathlib, sys, tempfile
from agent_node.documents import CAPABILITIES
from agent_node.documents.files import InputFile
from agent_node.documents.samples import sample_files
with tempfile.TemporaryDirectory() as folder:
    def call(name, *inputs, **params):
        return CAPABILITIES[name].load()(params, list(inputs), lambda what, done: None)
    def put(out):
        path = pathlib.Path(folder) / str(len(list(pathlib.Path(folder).iterdir())))
        path.write_bytes(out.data)
        return InputFile(out.name, path, out.media_type)
    rows, parts = [], []
    for path in sample_files():
        text = put(call("doc.read", InputFile(path.name, path, ""))[0])
        rows.append(put(call("text.extract", text)[0]))
        parts += [put(call("text.summarize", text)[0]), put(call("text.keywords", text)[0])]
    made = call("table.assemble", *rows, group_by="month")
    made += call("report.assemble", *rows, *parts, put(made[1]), title="T", goal="G")
    for out in made:
        print(out.name, len(out.data), hashlib.sha256(out.data).hexdigest())
"""


def test_the_whole_chain_gives_the_same_bytes_in_every_process() -> None:
    results = [
        subprocess.run(
            [sys.executable, "-c", WHOLE_CHAIN],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    ]
    assert len(results[0].splitlines()) == 3
    assert results[0] == results[1] == results[2]


def test_a_file_that_vanished_is_told(tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as caught:
        read_bytes(InputFile("gone.txt", tmp_path / "gone", ""))
    assert caught.value.code == "E_MISSING"


def test_a_folder_is_no_document(tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as caught:
        read_bytes(InputFile("folder", tmp_path, ""))
    assert caught.value.code == "E_UNREADABLE"


@pytest.mark.parametrize("data", [b"", b" \n\t ", b"\0\0\0"])
def test_an_empty_file_is_told(put: Put, data: bytes) -> None:
    with pytest.raises(DocumentError) as caught:
        read_bytes(put("empty.txt", data))
    assert caught.value.code == "E_EMPTY"


def test_a_huge_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as stream:
        stream.truncate(2 * 1024**3)
    with pytest.raises(DocumentError) as caught:
        read_bytes(InputFile("huge.txt", path, ""))
    assert caught.value.code == "E_TOO_LARGE"
    assert "2,147,483,648 bytes" in caught.value.message


def test_one_line_of_50_megabytes_is_refused(put: Put) -> None:
    with pytest.raises(DocumentError) as caught:
        read_bytes(put("line.txt", b"x" * 50_000_000))
    assert caught.value.code == "E_TOO_LARGE"


def test_one_line_of_20_megabytes_is_read(put: Put, call: Call) -> None:
    text = call("doc.read", [put("line.txt", b"word " * 4_000_000)])["text.json"]
    assert json.loads(text)["chars"] == 20_000_000 - 1


def test_json_is_written_in_one_way() -> None:
    assert canonical_json({"b": 1, "a": "é\ud800"}) == '{"a":"é?","b":1}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
