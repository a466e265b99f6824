"""README is short and its links work anywhere; no link of a page leads nowhere; recipes that pages show are valid."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import ON_THE_WEB, ROOT, anchors, blocks, links, pages, source_paths

from azdistill import recipe
from azdistill.project import create

README = ROOT / "README.md"
#: Pages and the recipes in them, by the key that opens each.
RECIPES = [
    (page, block.text)
    for page in (README, ROOT / "docs/recipes.md")
    for block in blocks(page)
    if block.info == "yaml" and block.text.startswith("task:")
]


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) < 150


def test_the_readmes_links_work_on_the_packages_index_page() -> None:
    assert [link for link in links(README) if not link.startswith("https://")] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_leads_nowhere(page: Path) -> None:
    astray = []
    for link in links(page):
        target, _, anchor = _inside(link, page).partition("#")
        if target.startswith(("https://", "http://")):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            astray.append(link)
    assert astray == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs/contributing").glob("*.md")), ids=lambda page: page.stem)
def test_the_files_that_a_page_for_contributors_names_are_there(page: Path) -> None:
    assert [path for path in sorted(source_paths(page)) if not (ROOT / path).exists()] == []


def _inside(link: str, page: Path) -> str:
    """A link to a file of this repository, as a relative one."""
    for start in ON_THE_WEB:
        if link.startswith(start):
            return str(ROOT / link.removeprefix(start))
    return link


def test_both_pages_show_a_recipe() -> None:
    assert {page.name for page, _ in RECIPES} == {"README.md", "recipes.md"}


@pytest.mark.parametrize(("page", "text"), RECIPES, ids=lambda value: getattr(value, "name", ""))
def test_the_recipes_of_the_pages_are_valid(
    page: Path, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_ENDPOINT", "https://teacher.example/v1")
    monkeypatch.setenv("TEACHER_API_KEY", "a-key-of-this-test")
    create(tmp_path / "reviews", "nli")
    file = tmp_path / "reviews/recipe.yml"
    file.write_text(text, encoding="utf-8")
    assert [problem for problem in recipe.check(file) if problem.severity == "error"] == []
