#!/usr/bin/env bash
# Makes the example repository: a table of contents for a Markdown file.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: headings --------------------------------------------------------------------------------
mkdir -p mdtoc tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# mdtoc

Prints a table of contents for a Markdown file.

    python3 -m mdtoc GUIDE.md --depth 2
    python3 -m unittest -v
E
cat > mdtoc/__init__.py <<'E'
"""Tables of contents for Markdown."""
E
cat > mdtoc/headings.py <<'E'
"""Finding the headings of a Markdown text."""

import re
from dataclasses import dataclass

HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*$")


@dataclass(frozen=True)
class Heading:
    level: int
    title: str


def find_headings(text):
    """All headings in order. What stands in a block of code is none."""
    headings = []
    in_code = False
    for line in text.splitlines():
        if line.startswith("```"):
            in_code = not in_code
            continue
        found = HEADING.match(line)
        if found and not in_code:
            headings.append(Heading(len(found[1]), found[2]))
    return headings
E
touch tests/__init__.py
cat > tests/test_headings.py <<'E'
import unittest

from mdtoc.headings import Heading, find_headings


class HeadingsTest(unittest.TestCase):
    def test_levels_are_told_by_hashes(self):
        found = find_headings("# Guide\n\ntext\n\n### Start ###\n")
        self.assertEqual(found, [Heading(1, "Guide"), Heading(3, "Start")])

    def test_seven_hashes_are_text(self):
        self.assertEqual(find_headings("####### no\n#neither\n"), [])

    def test_code_has_no_headings(self):
        text = "# Guide\n```sh\n# a comment\nls\n```\n## End\n"
        self.assertEqual([each.title for each in find_headings(text)], ["Guide", "End"])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-03-01T12:00:00+01:00" "Find headings"

# --- 2: anchors ---------------------------------------------------------------------------------
cat > mdtoc/anchors.py <<'E'
"""The names that headings are linked by."""

import re


def slug(title):
    """Lower case, words joined by hyphens, without punctuation and markup."""
    plain = re.sub(r"[^\w\s-]", "", title.lower())
    return re.sub(r"\s+", "-", plain.strip())


def anchors(titles):
    """One for each title; titles that come again get a number."""
    seen = {}
    names = []
    for title in titles:
        name = slug(title)
        count = seen.get(name, 0)
        seen[name] = count + 1
        names.append(f"{name}-{count}" if count else name)
    return names
E
cat > tests/test_anchors.py <<'E'
import unittest

from mdtoc.anchors import anchors, slug


class AnchorsTest(unittest.TestCase):
    def test_a_slug_is_lower_case_and_hyphenated(self):
        self.assertEqual(slug("Getting `started`, fast!"), "getting-started-fast")

    def test_titles_that_come_again_get_a_number(self):
        self.assertEqual(anchors(["Usage", "Notes", "Usage", "Usage"]), ["usage", "notes", "usage-1", "usage-2"])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-03-01T17:25:00+01:00" "Anchors for headings"

# --- 3: the table -------------------------------------------------------------------------------
cat > mdtoc/table.py <<'E'
"""The table itself, as a nested Markdown list."""

from mdtoc.anchors import anchors
from mdtoc.headings import find_headings


def table(text, depth=6):
    """A list of links, indented by level, down to `depth`. The highest level there is isn't indented."""
    headings = find_headings(text)
    names = anchors([each.title for each in headings])
    top = min((each.level for each in headings), default=1)
    lines = []
    for heading, name in zip(headings, names):
        if heading.level <= depth:
            indent = "  " * (heading.level - top)
            lines.append(f"{indent}- [{heading.title}](#{name})")
    return "\n".join(lines)
E
cat > mdtoc/__main__.py <<'E'
"""python3 -m mdtoc FILE [--depth N]"""

import argparse
import pathlib

from mdtoc.table import table


def main():
    parser = argparse.ArgumentParser(prog="mdtoc")
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--depth", type=int, default=6)
    options = parser.parse_args()
    print(table(options.file.read_text(), options.depth))


if __name__ == "__main__":
    main()
E
cat > tests/test_table.py <<'E'
import unittest

from mdtoc.table import table

GUIDE = "## Start\n### Install\n### Usage\n## End\n"


class TableTest(unittest.TestCase):
    def test_lower_levels_are_indented(self):
        lines = ["- [Start](#start)", "  - [Install](#install)", "  - [Usage](#usage)", "- [End](#end)"]
        self.assertEqual(table(GUIDE).splitlines(), lines)

    def test_the_depth_leaves_lower_levels_out(self):
        self.assertEqual(table(GUIDE, depth=2), "- [Start](#start)\n- [End](#end)")

    def test_a_text_without_headings_has_an_empty_table(self):
        self.assertEqual(table("just text\n"), "")


if __name__ == "__main__":
    unittest.main()
E
commit "2025-03-02T09:41:00+01:00" "The table as a nested list"

# --- 4: the report of a user, as a test ---------------------------------------------------------
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_headings.py")
text = path.read_text()
text = text.replace(
    "\n\nif __name__",
    "\n"
    "    def test_code_between_tildes_has_no_headings(self):\n"
    "        text = \"# Guide\\n~~~\\n# a comment\\nls\\n~~~\\n## End\\n\"\n"
    "        self.assertEqual([each.title for each in find_headings(text)], [\"Guide\", \"End\"])\n"
    "\n\nif __name__",
)
path.write_text(text)
E
commit "2025-03-09T20:03:00+01:00" "Test for comments that ended up in the table"

git rev-parse HEAD
