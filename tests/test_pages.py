"""The pages that we write for people: what they link to exists, what they show is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator

from twisted.trial.unittest import SynchronousTestCase

from multiproto.banner import render_banner
from multiproto.core.domain.audit_log import ACTIONS

from .test_banner import DEFAULT, commands

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"))


class PagesTests(SynchronousTestCase):
    def test_the_readme_shows_the_banners_commands(self) -> None:
        readme = (ROOT / "README.md").read_text().splitlines()
        self.assertEqual(
            [command for command in commands(render_banner(DEFAULT)) if command not in readme], []
        )

    def test_all_actions_of_the_trail_are_told(self) -> None:
        section = (ROOT / "docs/rest.md").read_text().partition("### GET /auth/audit")[2].partition("```")[0]
        told = re.findall(r"`([^`]+)`", section.partition("one of")[2].partition(".\n")[0])
        self.assertEqual(sorted(told), sorted(ACTIONS))

    def links(self) -> Iterator[tuple[Path, str]]:
        for page in PAGES:
            prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
            for target in re.findall(r"\]\(([^)\s]+)\)", prose):
                yield page, target

    def test_links_lead_somewhere(self) -> None:
        """Files exist, and so do the headings that are linked to."""
        broken = []
        for page, target in self.links():
            if re.match(r"[a-z]+:", target):
                continue
            path, _, heading = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or (heading and heading not in self.headings(file)):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
        self.assertEqual(broken, [])

    def headings(self, page: Path) -> set[str]:
        """The anchors of a page, as they are commonly made of its headings."""
        titles = re.findall(r"^#+ +(.*)$", page.read_text(), flags=re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
