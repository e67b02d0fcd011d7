"""The changelog of a release is made from the fragments by one command, which may run again."""

import shutil
from pathlib import Path

import pytest
from reference import changelog

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A copy of the changelog and three fragments."""
    shutil.copy(REPO / "CHANGELOG.md", tmp_path)
    folder = tmp_path / "changelog.d"
    folder.mkdir()
    shutil.copy(REPO / "changelog.d" / "README.md", folder)
    (folder / "guard-x.changed.md").write_text("A guard refuses `x`:\npass `y`.\n")
    (folder / "z.added.md").write_text("`affiant z` is new.\n")
    (folder / "client-a.added.md").write_text("`Service.a` is new.\n")
    return tmp_path


def test_fragments_move_into_a_section(repo: Path) -> None:
    before = (repo / "CHANGELOG.md").read_text()
    assert changelog.main(["9.8.7"], repo).startswith("3 fragments")
    after = (repo / "CHANGELOG.md").read_text()
    begin = after.index("## 9.8.7 (")
    section = after[begin : after.index("\n## ", begin) + 1]
    lines = [line for line in section.splitlines()[1:] if line]
    assert lines == [
        "### Behaviour changes", "Read these before you upgrade.", "#### Guard", "- A guard refuses `x`: pass `y`.",
        "### Added", "#### Server and command line", "- `affiant z` is new.", "#### Client", "- `Service.a` is new.",
    ]  # fmt: skip
    assert after.replace(section, "") == before
    assert [path.name for path in (repo / "changelog.d").iterdir()] == ["README.md"]


def test_second_run_changes_nothing(repo: Path) -> None:
    changelog.main(["9.8.7"], repo)
    once = (repo / "CHANGELOG.md").read_text()
    changelog.main(["9.8.7"], repo)
    assert (repo / "CHANGELOG.md").read_text() == once


def test_late_fragment_joins_its_heading(repo: Path) -> None:
    changelog.main(["9.8.7"], repo)
    (repo / "changelog.d" / "late.added.md").write_text("`affiant late` is new.\n")
    changelog.main(["9.8.7"], repo)
    text = (repo / "CHANGELOG.md").read_text()
    assert text.count("## 9.8.7") == text.count("`Service.a` is new.") == 1
    assert "- `affiant z` is new.\n- `affiant late` is new.\n" in text


@pytest.mark.parametrize("words", [[], ["0.2"], ["v0.2.0"], ["0.2.0", "0.3.0"]])
def test_strange_version_is_refused(repo: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit, match="usage"):
        changelog.main(words, repo)


def test_strange_fragment_stops_before_anything_is_moved(repo: Path) -> None:
    (repo / "changelog.d" / "x.new.md").write_text("?\n")
    before = (repo / "CHANGELOG.md").read_text()
    with pytest.raises(SystemExit, match=r"x\.new\.md"):
        changelog.main(["9.8.7"], repo)
    assert (repo / "CHANGELOG.md").read_text() == before


def test_every_fragment_has_a_kind() -> None:
    named = [path.name.split(".")[-2] for path in (REPO / "changelog.d").glob("*.md") if path.name != "README.md"]
    assert set(named) <= set(changelog.HEADINGS)
