#!/usr/bin/env bash
# Makes the example repository: settings that are kept in a text file.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: reading ---------------------------------------------------------------------------------
mkdir -p keep tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# keep

Keeps settings in a text file, in sections:

    [editor]
    font = Inconsolata
    greeting = Hello\nand welcome

In a value, `\n` stands for a line break.

    python3 -m unittest -v
E
cat > keep/__init__.py <<'E'
"""Settings in a text file."""
E
cat > keep/reader.py <<'E'
"""From the text to sections: a dictionary of dictionaries."""


class BadSettings(ValueError):
    """The text can't be read; says where."""


def read_value(text):
    """The value as it was before it was written."""
    return text.replace("\\n", "\n")


def read_settings(text):
    """All sections by name. Empty lines and those that begin with # are skipped."""
    sections = {}
    current = None
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            current = sections.setdefault(line[1:-1].strip(), {})
            continue
        key, equals, value = line.partition("=")
        if not equals or current is None:
            raise BadSettings(f"line {number}: expected key = value in a section")
        current[key.strip()] = read_value(value.strip())
    return sections
E
touch tests/__init__.py
cat > tests/test_reader.py <<'E'
import unittest

from keep.reader import BadSettings, read_settings


class ReaderTest(unittest.TestCase):
    def test_values_lie_in_sections(self):
        text = "# mine\n[editor]\nfont = Inconsolata\nsize=12\n\n[window]\n"
        self.assertEqual(read_settings(text), {"editor": {"font": "Inconsolata", "size": "12"}, "window": {}})

    def test_a_value_may_have_an_equals_sign(self):
        self.assertEqual(read_settings("[a]\nquery = x=1")["a"]["query"], "x=1")

    def test_a_line_break_is_written_as_two_characters(self):
        self.assertEqual(read_settings("[a]\ntext = one\\ntwo")["a"]["text"], "one\ntwo")

    def test_it_says_where_the_text_is_wrong(self):
        with self.assertRaisesRegex(BadSettings, "line 2"):
            read_settings("[a]\nnonsense")
        with self.assertRaisesRegex(BadSettings, "line 1"):
            read_settings("key = value")


if __name__ == "__main__":
    unittest.main()
E
commit "2025-05-05T09:00:00+02:00" "Read settings"

# --- 2: writing ---------------------------------------------------------------------------------
cat > keep/writer.py <<'E'
"""From sections to the text."""


def write_value(value):
    """The value on one line."""
    return str(value).replace("\n", "\\n")


def write_settings(sections):
    """Sections and keys in the order of their names, so that the file changes as little as possible."""
    blocks = []
    for name, values in sorted(sections.items()):
        lines = [f"[{name}]"]
        lines += [f"{key} = {write_value(value)}" for key, value in sorted(values.items())]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"
E
cat > tests/test_writer.py <<'E'
import unittest

from keep.reader import read_settings
from keep.writer import write_settings


class WriterTest(unittest.TestCase):
    def test_names_are_in_order(self):
        text = write_settings({"window": {"width": 80}, "editor": {"size": 12, "font": "Hack"}})
        self.assertEqual(text, "[editor]\nfont = Hack\nsize = 12\n\n[window]\nwidth = 80\n")

    def test_a_line_break_comes_back(self):
        sections = {"a": {"text": "one\ntwo\n\nfour"}}
        self.assertEqual(read_settings(write_settings(sections)), sections)


if __name__ == "__main__":
    unittest.main()
E
commit "2025-05-05T17:20:00+02:00" "Write settings"

# --- 3: the store -------------------------------------------------------------------------------
cat > keep/store.py <<'E'
"""Settings by dotted name: `editor.font`."""

import pathlib

from keep.reader import read_settings
from keep.writer import write_settings


class Store:
    """What is kept in one file. Changes are written when `save` is called."""

    def __init__(self, path):
        self._path = pathlib.Path(path)
        self._sections = read_settings(self._path.read_text()) if self._path.exists() else {}

    def get(self, name, default=None):
        section, _, key = name.partition(".")
        return self._sections.get(section, {}).get(key, default)

    def set(self, name, value):
        section, dot, key = name.partition(".")
        if not dot or not key:
            raise KeyError(f"{name!r} needs a section and a key")
        self._sections.setdefault(section, {})[key] = str(value)

    def save(self):
        self._path.write_text(write_settings(self._sections))
E
cat > tests/test_store.py <<'E'
import pathlib
import tempfile
import unittest

from keep.store import Store


class StoreTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "settings"

    def test_what_is_saved_is_there_again(self):
        store = Store(self.path)
        store.set("editor.font", "Hack")
        store.save()
        self.assertEqual(Store(self.path).get("editor.font"), "Hack")

    def test_what_is_not_there_has_a_default(self):
        self.assertEqual(Store(self.path).get("editor.size", "12"), "12")

    def test_a_name_has_two_parts(self):
        with self.assertRaises(KeyError):
            Store(self.path).set("font", "Hack")


if __name__ == "__main__":
    unittest.main()
E
commit "2025-05-07T20:31:00+02:00" "A store for settings"

# --- 4: the report of a user, as tests ----------------------------------------------------------
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_store.py")
text = path.read_text()
text = text.replace(
    "    def test_what_is_not_there_has_a_default(self):",
    "    def test_a_folder_is_kept(self):\n"
    "        store = Store(self.path)\n"
    "        store.set(\"backup.folder\", \"D:\\\\new\\\\notes\")\n"
    "        store.save()\n"
    "        self.assertEqual(Store(self.path).get(\"backup.folder\"), \"D:\\\\new\\\\notes\")\n"
    "\n"
    "    def test_what_is_not_there_has_a_default(self):",
)
path.write_text(text)

path = pathlib.Path("tests/test_writer.py")
text = path.read_text()
text = text.replace(
    "    def test_a_line_break_comes_back(self):",
    "    def test_a_backslash_is_written_twice(self):\n"
    "        self.assertEqual(write_settings({\"a\": {\"b\": \"D:\\\\new\"}}), \"[a]\\nb = D:\\\\\\\\new\\n\")\n"
    "\n"
    "    def test_a_line_break_comes_back(self):",
)
path.write_text(text)
E
commit "2025-05-19T08:47:00+02:00" "Tests for folders that fall apart"

git rev-parse HEAD
