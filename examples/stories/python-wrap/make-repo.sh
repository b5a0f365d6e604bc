#!/usr/bin/env bash
# Makes the example repository: texts for a display of few columns.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: wrapping --------------------------------------------------------------------------------
mkdir -p display tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# display

Brings texts onto the display at the bus stop: a few lines of a few columns each.

    python3 -m unittest -v
E
cat > display/__init__.py <<'E'
"""The display at the bus stop."""
E
cat > display/wrap.py <<'E'
"""Breaking a text into lines."""


def wrap(text, width):
    """Lines of at most `width` characters, broken between words."""
    if width < 1:
        raise ValueError("a line holds at least one character")
    lines = []
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return lines + [line] if line else lines
E
touch tests/__init__.py
cat > tests/test_wrap.py <<'E'
import unittest

from display.wrap import wrap


class WrapTest(unittest.TestCase):
    def test_lines_are_broken_between_words(self):
        self.assertEqual(wrap("the next bus is late", 8), ["the next", "bus is", "late"])

    def test_spaces_do_not_count(self):
        self.assertEqual(wrap("  a   b ", 3), ["a b"])
        self.assertEqual(wrap("   ", 3), [])

    def test_a_line_without_room_is_refused(self):
        with self.assertRaises(ValueError):
            wrap("bus", 0)


if __name__ == "__main__":
    unittest.main()
E
commit "2025-04-02T09:00:00+02:00" "Break a text into lines"

# --- 2: long words ------------------------------------------------------------------------------
cat > display/wrap.py <<'E'
"""Breaking a text into lines."""


def pieces(word, width):
    """The word in pieces that fit; all but the last end with a hyphen, where there is room for one."""
    room = max(width - 1, 1)
    while len(word) > width:
        yield word[:room] + ("-" if width > 1 else "")
        word = word[room:]
    yield word


def wrap(text, width):
    """Lines of at most `width` characters, broken between words; within a word that is longer than a line."""
    if width < 1:
        raise ValueError("a line holds at least one character")
    lines = []
    line = ""
    for word in text.split():
        for piece in pieces(word, width):
            if line and len(line) + 1 + len(piece) > width:
                lines.append(line)
                line = ""
            line = f"{line} {piece}" if line else piece
    return lines + [line] if line else lines
E
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_wrap.py")
text = path.read_text()
text = text.replace(
    "    def test_a_line_without_room_is_refused(self):",
    "    def test_a_long_word_is_broken_with_a_hyphen(self):\n"
    "        self.assertEqual(wrap(\"to Leichlingen now\", 8), [\"to\", \"Leichli-\", \"ngen now\"])\n"
    "\n"
    "    def test_a_line_without_room_is_refused(self):",
)
path.write_text(text)
E
commit "2025-04-09T18:34:00+02:00" "Break words that are longer than a line"

# --- 3: screens ---------------------------------------------------------------------------------
cat > display/screen.py <<'E'
"""Lines on screens that follow each other."""

from display.wrap import wrap


def centre(line, width):
    """The line in the middle; an odd space goes to the right."""
    left = (width - len(line)) // 2
    return " " * left + line + " " * (width - len(line) - left)


def screens(text, width, height):
    """Screens of `height` lines of `width` characters each; the last is filled with empty lines."""
    lines = [centre(line, width) for line in wrap(text, width)]
    while len(lines) % height:
        lines.append(" " * width)
    return [lines[start:start + height] for start in range(0, len(lines), height)]
E
cat > tests/test_screen.py <<'E'
import unittest

from display.screen import centre, screens


class ScreenTest(unittest.TestCase):
    def test_a_line_is_put_in_the_middle(self):
        self.assertEqual(centre("bus", 8), "  bus   ")

    def test_screens_follow_each_other(self):
        found = screens("the next bus is late", 8, 2)
        self.assertEqual(found, [["the next", " bus is "], ["  late  ", "        "]])

    def test_no_text_needs_no_screen(self):
        self.assertEqual(screens("", 8, 2), [])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-04-12T11:05:00+02:00" "Screens of lines in the middle"

# --- 4: times -----------------------------------------------------------------------------------
cat > display/departures.py <<'E'
"""When the next buses leave."""

from display.screen import screens


def departure(line, goal, minutes):
    """What is told about one bus."""
    when = "now" if minutes < 1 else f"in {minutes} min"
    return f"{line} {goal} {when}"


def board(departures, width, height):
    """All screens for all buses; each bus begins a new one."""
    return [screen for each in departures for screen in screens(departure(*each), width, height)]
E
cat > tests/test_departures.py <<'E'
import unittest

from display.departures import board, departure


class DeparturesTest(unittest.TestCase):
    def test_a_bus_leaves_now_or_soon(self):
        self.assertEqual(departure("7", "Harbour", 0), "7 Harbour now")
        self.assertEqual(departure("7", "Harbour", 4), "7 Harbour in 4 min")

    def test_each_bus_has_its_own_screen(self):
        found = board([("7", "Harbour", 0), ("12", "Mill", 9)], 12, 2)
        self.assertEqual(found, [[" 7 Harbour  ", "    now     "], ["12 Mill in 9", "    min     "]])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-04-20T15:50:00+02:00" "When the next buses leave"

git rev-parse HEAD
