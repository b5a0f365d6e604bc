#!/usr/bin/env bash
# Makes the example repository: which part of a small web site answers which address.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: patterns --------------------------------------------------------------------------------
mkdir -p signpost tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# signpost

Which part of a site answers which address?

    router = Router()
    router.add("/authors/<name>", show_author, name="author")
    router.find("/authors/woolf")       # show_author, {"name": "woolf"}
    router.link("author", name="woolf") # "/authors/woolf"

    python3 -m unittest -v
E
cat > signpost/__init__.py <<'E'
"""Addresses of a small web site."""
E
cat > signpost/pattern.py <<'E'
"""Addresses with gaps: `/authors/<name>`."""

from dataclasses import dataclass


class BadPattern(ValueError):
    """The pattern can't be read."""


@dataclass(frozen=True)
class Text:
    """A part that is always the same."""

    text: str

    def match(self, part):
        """What the part says; None if it doesn't fit."""
        return {} if part == self.text else None

    def fill(self, values):
        return self.text


@dataclass(frozen=True)
class Gap:
    """A part that may be anything but empty."""

    name: str

    def match(self, part):
        """What the part says; None if it doesn't fit."""
        return {self.name: part} if part else None

    def fill(self, values):
        return str(values[self.name])


def parse_part(text):
    """A gap for `<name>`, otherwise a text."""
    if text.startswith("<") and text.endswith(">"):
        name = text[1:-1]
        if not name.isidentifier():
            raise BadPattern(f"{name!r} is not a name")
        return Gap(name)
    if "<" in text or ">" in text:
        raise BadPattern(f"a gap must fill its part: {text!r}")
    return Text(text)


class Pattern:
    def __init__(self, text):
        if not text.startswith("/"):
            raise BadPattern(f"{text!r} must begin with /")
        self.parts = [parse_part(part) for part in text[1:].split("/")]

    def match(self, address):
        """The values of the gaps; None if the address doesn't fit."""
        parts = address[1:].split("/")
        if not address.startswith("/") or len(parts) != len(self.parts):
            return None
        values = {}
        for own, part in zip(self.parts, parts):
            found = own.match(part)
            if found is None:
                return None
            values.update(found)
        return values

    def fill(self, values):
        """The address with these values in its gaps."""
        return "/" + "/".join(part.fill(values) for part in self.parts)
E
touch tests/__init__.py
cat > tests/test_pattern.py <<'E'
import unittest

from signpost.pattern import BadPattern, Pattern


class PatternTest(unittest.TestCase):
    def test_gaps_have_values(self):
        self.assertEqual(Pattern("/authors/<name>").match("/authors/woolf"), {"name": "woolf"})
        self.assertEqual(Pattern("/").match("/"), {})

    def test_other_addresses_do_not_fit(self):
        for address in ("/authors", "/authors/", "/authors/woolf/waves", "/books/woolf", "authors/woolf"):
            self.assertIsNone(Pattern("/authors/<name>").match(address), address)

    def test_gaps_are_filled(self):
        self.assertEqual(Pattern("/a/<b>/<c>").fill({"b": 1, "c": "two"}), "/a/1/two")

    def test_broken_patterns_are_refused(self):
        for text in ("authors", "/<>", "/<two words>", "/by-<name>"):
            with self.assertRaises(BadPattern):
                Pattern(text)


if __name__ == "__main__":
    unittest.main()
E
commit "2025-07-01T09:20:00+02:00" "Addresses with gaps"

# --- 2: a router --------------------------------------------------------------------------------
cat > signpost/router.py <<'E'
"""All patterns of a site, and what answers to each."""

from signpost.pattern import Pattern


class Router:
    def __init__(self):
        self._routes = []
        self._names = {}

    def add(self, pattern, target, name=None):
        """The target answers to addresses that fit. What was added first is asked first."""
        pattern = Pattern(pattern)
        self._routes.append((pattern, target))
        if name is not None:
            if name in self._names:
                raise ValueError(f"the name {name!r} is taken")
            self._names[name] = pattern

    def find(self, address):
        """What answers to the address, and the values of its gaps; None if nothing does."""
        for pattern, target in self._routes:
            values = pattern.match(address)
            if values is not None:
                return target, values
        return None

    def link(self, name, /, **values):
        """The address of what has that name."""
        return self._names[name].fill(values)
E
cat > tests/test_router.py <<'E'
import unittest

from signpost.router import Router


class RouterTest(unittest.TestCase):
    def setUp(self):
        self.router = Router()
        self.router.add("/", "home", name="home")
        self.router.add("/authors/new", "new author")
        self.router.add("/authors/<name>", "author", name="author")

    def test_the_first_that_fits_answers(self):
        self.assertEqual(self.router.find("/authors/new"), ("new author", {}))
        self.assertEqual(self.router.find("/authors/woolf"), ("author", {"name": "woolf"}))
        self.assertIsNone(self.router.find("/books"))

    def test_links_are_made_by_name(self):
        self.assertEqual(self.router.link("home"), "/")
        self.assertEqual(self.router.link("author", name="woolf"), "/authors/woolf")

    def test_a_name_is_given_once(self):
        with self.assertRaises(ValueError):
            self.router.add("/start", "home", name="home")


if __name__ == "__main__":
    unittest.main()
E
commit "2025-07-02T15:45:00+02:00" "A router finds what answers"

# --- 3: a site ----------------------------------------------------------------------------------
cat > signpost/site.py <<'E'
"""A site: functions that make pages, by address."""

from signpost.router import Router


class Site:
    def __init__(self):
        self.router = Router()

    def page(self, pattern, name=None):
        """Marks a function as what makes the page. It is called with the values of the gaps."""

        def mark(make):
            self.router.add(pattern, make, name or make.__name__)
            return make

        return mark

    def get(self, address):
        """The status and the text of the page at an address."""
        path = address.partition("?")[0]
        found = self.router.find(path)
        if found is None:
            return 404, f"nothing at {path}"
        make, values = found
        return 200, make(**values)
E
cat > tests/test_site.py <<'E'
import unittest

from signpost.site import Site


class SiteTest(unittest.TestCase):
    def test_a_page_is_made_with_its_values(self):
        site = Site()

        @site.page("/authors/<name>")
        def author(name):
            return f"about {name}"

        self.assertEqual(site.get("/authors/woolf?from=home"), (200, "about woolf"))
        self.assertEqual(site.get("/books"), (404, "nothing at /books"))
        self.assertEqual(site.router.link("author", name="austen"), "/authors/austen")


if __name__ == "__main__":
    unittest.main()
E
commit "2025-07-06T11:02:00+02:00" "A site makes pages"

# --- 4: what is wanted, as tests ----------------------------------------------------------------
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_router.py")
text = path.read_text()
text = text.replace(
    "    def test_a_name_is_given_once(self):",
    "    def test_a_gap_for_a_number_takes_numbers_only(self):\n"
    "        self.router.add(\"/pages/<int:number>\", \"page\", name=\"page\")\n"
    "        self.assertEqual(self.router.find(\"/pages/12\"), (\"page\", {\"number\": 12}))\n"
    "        self.assertIsNone(self.router.find(\"/pages/last\"))\n"
    "\n"
    "    def test_a_number_is_linked_to(self):\n"
    "        self.router.add(\"/pages/<int:number>\", \"page\", name=\"page\")\n"
    "        self.assertEqual(self.router.link(\"page\", number=3), \"/pages/3\")\n"
    "\n"
    "    def test_a_name_is_given_once(self):",
)
path.write_text(text)
E
commit "2025-07-19T10:10:00+02:00" "Tests for numbers in addresses"

git rev-parse HEAD
