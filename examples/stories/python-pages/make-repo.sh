#!/usr/bin/env bash
# Makes the example repository: a reading list that is searched, paged and printed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: books -----------------------------------------------------------------------------------
mkdir -p shelf tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# shelf

Searches a reading list and prints it page by page.

    python3 -m shelf books.txt --search sea --page 2
    python3 -m unittest -v
E
cat > shelf/__init__.py <<'E'
"""A reading list on the command line."""
E
cat > shelf/books.py <<'E'
"""Books and the file they are kept in: one a line, `title; author; year`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Book:
    title: str
    author: str
    year: int


def parse_line(line):
    """The book on one line; ValueError says what is wrong with it."""
    parts = [part.strip() for part in line.split(";")]
    if len(parts) != 3:
        raise ValueError(f"expected title; author; year, got {line!r}")
    title, author, year = parts
    if not year.lstrip("-").isdigit():
        raise ValueError(f"{year!r} is not a year")
    return Book(title, author, int(year))


def parse_books(text):
    """All books of a text. Empty lines and lines that begin with # are skipped."""
    books = []
    for line in text.splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            books.append(parse_line(line))
    return books
E
touch tests/__init__.py
cat > tests/test_books.py <<'E'
import unittest

from shelf.books import Book, parse_books, parse_line


class BooksTest(unittest.TestCase):
    def test_a_line_is_a_book(self):
        book = parse_line("The Waves; Virginia Woolf; 1931")
        self.assertEqual(book, Book("The Waves", "Virginia Woolf", 1931))

    def test_a_line_without_a_year_is_refused(self):
        with self.assertRaises(ValueError):
            parse_line("The Waves; Virginia Woolf")

    def test_comments_and_empty_lines_are_skipped(self):
        books = parse_books("# mine\n\nEmma; Jane Austen; 1815\n")
        self.assertEqual([book.title for book in books], ["Emma"])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-03-03T09:12:00+01:00" "Books, one a line"

# --- 2: search ----------------------------------------------------------------------------------
cat > shelf/search.py <<'E'
"""Finding and ordering books."""


def matches(book, words):
    """Whether every word is in the title or in the author's name."""
    text = f"{book.title} {book.author}".lower()
    return all(word.lower() in text for word in words)


def search(books, query):
    """The books that match all words of the query; all of them for an empty one."""
    words = query.split()
    return [book for book in books if matches(book, words)]


def by_year(books):
    """Oldest first; within a year by title."""
    return sorted(books, key=lambda book: (book.year, book.title.lower()))
E
cat > tests/test_search.py <<'E'
import unittest

from shelf.books import Book
from shelf.search import by_year, search

WAVES = Book("The Waves", "Virginia Woolf", 1931)
EMMA = Book("Emma", "Jane Austen", 1815)
ORLANDO = Book("Orlando", "Virginia Woolf", 1928)


class SearchTest(unittest.TestCase):
    def test_all_words_have_to_match(self):
        self.assertEqual(search([WAVES, EMMA, ORLANDO], "woolf waves"), [WAVES])

    def test_an_empty_query_finds_everything(self):
        self.assertEqual(search([WAVES, EMMA], ""), [WAVES, EMMA])

    def test_the_oldest_comes_first(self):
        self.assertEqual(by_year([WAVES, EMMA, ORLANDO]), [EMMA, ORLANDO, WAVES])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-03-05T18:40:00+01:00" "Search by words, order by year"

# --- 3: pages -----------------------------------------------------------------------------------
cat > shelf/pages.py <<'E'
"""Splitting a list into pages. Pages are counted from 1."""


def page_count(total, per_page):
    """How many pages a list of `total` items fills. An empty list has one, empty, page."""
    if per_page < 1:
        raise ValueError("a page holds at least one item")
    if total == 0:
        return 1
    return total // per_page + 1


def page_items(items, page, per_page):
    """The items on one page; none on a page that isn't there."""
    if page < 1:
        return []
    start = (page - 1) * per_page
    return items[start:start + per_page]


def page_window(page, count, width=2):
    """The page numbers to offer around the current one, without leaving 1..count."""
    first = max(1, page - width)
    last = min(count, page + width)
    return list(range(first, last + 1))
E
cat > tests/test_pages.py <<'E'
import unittest

from shelf.pages import page_count, page_items, page_window


class PagesTest(unittest.TestCase):
    def test_a_started_page_counts(self):
        self.assertEqual(page_count(25, 10), 3)
        self.assertEqual(page_count(1, 10), 1)

    def test_an_empty_list_has_one_page(self):
        self.assertEqual(page_count(0, 10), 1)

    def test_a_page_without_room_is_refused(self):
        with self.assertRaises(ValueError):
            page_count(10, 0)

    def test_the_last_page_may_be_short(self):
        self.assertEqual(page_items(list("abcde"), 2, 3), ["d", "e"])

    def test_the_window_stays_inside(self):
        self.assertEqual(page_window(1, 9), [1, 2, 3])
        self.assertEqual(page_window(5, 9), [3, 4, 5, 6, 7])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-03-11T20:05:00+01:00" "Split a list into pages"

# --- 4: printing --------------------------------------------------------------------------------
cat > shelf/render.py <<'E'
"""Books as text."""

from shelf.pages import page_count, page_items, page_window


def render_book(book):
    """One line for one book."""
    return f"{book.title}, {book.author} ({book.year})"


def render_footer(page, count):
    """Where we are: the numbers around the page, it in brackets."""
    numbers = [f"[{n}]" if n == page else str(n) for n in page_window(page, count)]
    return f"page {page} of {count}: {' '.join(numbers)}"


def render_page(books, page, per_page):
    """One page with its footer."""
    lines = [render_book(book) for book in page_items(books, page, per_page)]
    lines.append(render_footer(page, page_count(len(books), per_page)))
    return "\n".join(lines)
E
cat > shelf/__main__.py <<'E'
"""python3 -m shelf FILE [--search WORDS] [--page N] [--per-page N]"""

import argparse
import pathlib

from shelf.books import parse_books
from shelf.render import render_page
from shelf.search import by_year, search


def main():
    parser = argparse.ArgumentParser(prog="shelf")
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--search", default="")
    parser.add_argument("--page", type=int, default=1)
    parser.add_argument("--per-page", type=int, default=10)
    options = parser.parse_args()
    books = by_year(search(parse_books(options.file.read_text()), options.search))
    print(render_page(books, options.page, options.per_page))


if __name__ == "__main__":
    main()
E
cat > tests/test_render.py <<'E'
import unittest

from shelf.books import Book
from shelf.render import render_footer, render_page

BOOKS = [Book("Emma", "Jane Austen", 1815), Book("Orlando", "Virginia Woolf", 1928), Book("The Waves", "Virginia Woolf", 1931)]


class RenderTest(unittest.TestCase):
    def test_the_current_page_is_in_brackets(self):
        self.assertEqual(render_footer(2, 3), "page 2 of 3: 1 [2] 3")

    def test_a_page_ends_with_its_footer(self):
        text = render_page(BOOKS, 2, 2)
        self.assertEqual(text, "The Waves, Virginia Woolf (1931)\npage 2 of 2: 1 [2]")


if __name__ == "__main__":
    unittest.main()
E
commit "2025-03-16T11:31:00+01:00" "Print a page with its footer"

# --- 5: the report of a user, as a test ---------------------------------------------------------
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_pages.py")
text = path.read_text()
text = text.replace(
    "    def test_an_empty_list_has_one_page(self):",
    "    def test_full_pages_leave_no_empty_one_behind(self):\n"
    "        self.assertEqual(page_count(20, 10), 2)\n"
    "\n"
    "    def test_an_empty_list_has_one_page(self):",
)
path.write_text(text)
E
commit "2025-04-02T08:57:00+02:00" "Test for the empty page at the end that readers see"

git rev-parse HEAD
