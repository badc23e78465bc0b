"""The files of a run: what is taken, what is left out and why, and what they are called."""

import os
from pathlib import Path

import pytest

from coordinator_node.inputs import FILE_BYTES_MAX, FILES_MAX, SKIPPED_MAX, InputsError, gather


def names(paths: list[Path]) -> tuple[list[str], dict[str, str]]:
    found, skipped = gather(paths)
    return [file.name for file in found], {item.name: item.code for item in skipped}


def test_a_folder_gives_its_files_below_in_name_order_and_passes_hidden_ones_over(tmp_path: Path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("z.txt", "b/a.md", ".secret", ".git/config"):
        (tmp_path / name).write_text("x")
    assert names([tmp_path]) == (["b/a.md", "z.txt"], {})


def test_files_that_cannot_be_used_are_left_out_with_the_reason(tmp_path: Path):
    (tmp_path / "good.txt").write_text("x")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    with (tmp_path / "huge.bin").open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    os.mkfifo(tmp_path / "pipe")
    assert names([tmp_path]) == (
        ["good.txt"],
        {"empty.txt": "E_EMPTY", "gone.txt": "E_VANISHED", "huge.bin": "E_TOO_LARGE", "pipe": "E_UNREADABLE"},
    )


def test_a_path_that_does_not_exist_is_an_error_that_names_it(tmp_path: Path):
    with pytest.raises(InputsError) as caught:
        gather([tmp_path / "nowhere"])
    assert "nowhere" in caught.value.message
    assert caught.value.code == "E_INPUT"


def test_nothing_usable_is_an_error_that_says_why(tmp_path: Path):
    (tmp_path / "empty.txt").touch()
    with pytest.raises(InputsError) as caught:
        gather([tmp_path])
    assert "empty" in caught.value.message


def test_two_files_of_the_same_name_stay_two(tmp_path: Path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "notes.txt").write_text(folder)
    found, _ = names([tmp_path / "one", tmp_path / "two" / "notes.txt"])
    assert len(set(found)) == 2


def test_media_types_do_not_depend_on_the_device(tmp_path: Path):
    for name in ("a.md", "a.PDF", "a.docx", "a.csv", "a.unknown"):
        (tmp_path / name).write_text("x")
    found, _ = gather([tmp_path])
    assert {file.name: file.media_type for file in found} == {
        "a.md": "text/markdown",
        "a.PDF": "application/pdf",
        "a.docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "a.csv": "text/csv",
        "a.unknown": "application/octet-stream",
    }


def test_names_are_told_apart_so_that_their_kind_can_still_be_told(tmp_path: Path):
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in ("a.csv", "a (2).csv", "x" * 251 + ".txt"):
            (folder / name).write_text("text")
    files, _ = gather([tmp_path / str(number) for number in range(3)])
    names = [file.name for file in files]
    assert len(set(names)) == len(names) == 9
    assert max(map(len, names)) == 255
    assert {Path(name).suffix for name in names} == {".csv", ".txt"}


def test_names_can_be_shown_on_any_terminal(tmp_path: Path):
    for name in ("new\nline.txt", "esc\x1b[31m.txt", "rtl\u202etxt.exe", "joined\u200cword.txt"):
        (tmp_path / name).write_text("text")
    (tmp_path / os.fsdecode(b"latin-\xe9.txt")).write_text("text")
    names = {file.name for file in gather([tmp_path])[0]}
    assert names == {"new�line.txt", "esc�[31m.txt", "rtl�txt.exe", "joined\u200cword.txt", "latin-�.txt"}


def test_thousands_of_useless_files_are_named_in_part_and_counted_in_full(tmp_path: Path):
    for number in range(1500):
        (tmp_path / f"{number:04}.txt").touch()
    (tmp_path / "good.txt").write_text("text")
    files, skipped = gather([tmp_path])
    assert [file.name for file in files] == ["good.txt"]
    assert len(skipped) == SKIPPED_MAX + 1
    assert f"and {1500 - SKIPPED_MAX:,} more" in skipped[-1].name
    assert skipped[-1].code == "E_EMPTY"


def test_more_files_than_a_run_takes_are_an_error_before_any_is_stored(tmp_path: Path):
    for number in range(FILES_MAX + 1):
        (tmp_path / f"{number}.txt").write_text("text")
    with pytest.raises(InputsError, match=r"1,001 files") as caught:
        gather([tmp_path])
    assert caught.value.hint
