#!/usr/bin/env bash
# Makes the example repository: the cash book of a club.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: entries ---------------------------------------------------------------------------------
mkdir -p cashbook tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# cashbook

The cash book of a club: what came in and what went out. Money is kept in cents, whole numbers.

    2025-03-01 membership 120.00 Fee of the Adlers
    2025-03-04 hall -35.50 Rent

    python3 -m unittest -v
E
cat > cashbook/__init__.py <<'E'
"""The cash book of a club."""
E
cat > cashbook/entries.py <<'E'
"""Reading the book: a line is a date, an account, an amount and a text."""

import re
from dataclasses import dataclass
from datetime import date

AMOUNT = re.compile(r"-?\d+\.\d\d$")


@dataclass(frozen=True)
class Entry:
    day: date
    account: str
    cents: int
    text: str


def parse_amount(text):
    """Cents out of `12.50`; what was paid out has a minus."""
    if not AMOUNT.match(text):
        raise ValueError(f"{text!r} is not an amount")
    whole, cents = text.split(".")
    return int(whole) * 100 + int(cents)


def parse_entry(line):
    """The entry on one line."""
    day, account, amount, text = line.split(maxsplit=3)
    return Entry(date.fromisoformat(day), account, parse_amount(amount), text)


def parse_book(text):
    """All entries, in the order of their days."""
    entries = [parse_entry(line) for line in text.splitlines() if line.strip()]
    return sorted(entries, key=lambda entry: entry.day)
E
touch tests/__init__.py
cat > tests/test_entries.py <<'E'
import unittest
from datetime import date

from cashbook.entries import Entry, parse_amount, parse_book, parse_entry


class EntriesTest(unittest.TestCase):
    def test_an_amount_is_in_cents(self):
        self.assertEqual(parse_amount("120.00"), 12000)
        self.assertEqual(parse_amount("0.07"), 7)

    def test_half_amounts_are_refused(self):
        for text in ("12", "12.5", "1,50", "--3.00"):
            with self.assertRaises(ValueError):
                parse_amount(text)

    def test_a_text_may_have_spaces(self):
        entry = parse_entry("2025-03-01 membership 120.00 Fee of the Adlers")
        self.assertEqual(entry, Entry(date(2025, 3, 1), "membership", 12000, "Fee of the Adlers"))

    def test_entries_are_ordered_by_day(self):
        book = parse_book("2025-03-02 a 1.00 x\n\n2025-03-01 b 2.00 y\n")
        self.assertEqual([entry.account for entry in book], ["b", "a"])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-03-08T14:00:00+01:00" "Read the book"

# --- 2: balances --------------------------------------------------------------------------------
cat > cashbook/balance.py <<'E'
"""Sums over entries."""


def balance(entries):
    """What is in the till after all of them."""
    return sum(entry.cents for entry in entries)


def by_account(entries):
    """The sum of each account, by name."""
    sums = {}
    for entry in entries:
        sums[entry.account] = sums.get(entry.account, 0) + entry.cents
    return dict(sorted(sums.items()))


def running(entries):
    """Each entry with what is in the till after it."""
    till = 0
    for entry in entries:
        till += entry.cents
        yield entry, till
E
cat > tests/test_balance.py <<'E'
import unittest
from datetime import date

from cashbook.balance import balance, by_account, running
from cashbook.entries import Entry

DAY = date(2025, 3, 1)
BOOK = [Entry(DAY, "fees", 5000, "a"), Entry(DAY, "hall", -3550, "b"), Entry(DAY, "fees", 1000, "c")]


class BalanceTest(unittest.TestCase):
    def test_what_came_in_less_what_went_out(self):
        self.assertEqual(balance(BOOK), 2450)

    def test_accounts_are_summed_apart(self):
        self.assertEqual(by_account(BOOK), {"fees": 6000, "hall": -3550})

    def test_the_till_is_known_after_every_entry(self):
        self.assertEqual([till for _, till in running(BOOK)], [5000, 1450, 2450])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-03-08T16:30:00+01:00" "Balances"

# --- 3: statements ------------------------------------------------------------------------------
cat > cashbook/statement.py <<'E'
"""The book as it is printed for the members."""

from cashbook.balance import balance, by_account, running


def format_amount(cents):
    """Cents as `12.50`."""
    return f"{cents // 100}.{cents % 100:02}"


def statement(entries):
    """A line for each entry, with the till after it."""
    lines = []
    for entry, till in running(entries):
        lines.append(f"{entry.day}  {format_amount(entry.cents):>9}  {format_amount(till):>9}  {entry.text}")
    return "\n".join(lines)


def overview(entries):
    """The sum of each account, and of all."""
    lines = [f"{account:<12}{format_amount(cents):>9}" for account, cents in by_account(entries).items()]
    lines.append(f"{'together':<12}{format_amount(balance(entries)):>9}")
    return "\n".join(lines)
E
cat > tests/test_statement.py <<'E'
import unittest

from cashbook.entries import parse_book
from cashbook.statement import format_amount, overview, statement


class StatementTest(unittest.TestCase):
    def test_cents_have_two_digits(self):
        self.assertEqual([format_amount(cents) for cents in (0, 7, 250, 12000)], ["0.00", "0.07", "2.50", "120.00"])

    def test_a_statement_has_the_till(self):
        book = parse_book("2025-03-01 fees 120.00 Adler\n2025-03-02 fees 60.00 Brand\n")
        self.assertEqual(statement(book), "2025-03-01     120.00     120.00  Adler\n2025-03-02      60.00     180.00  Brand")

    def test_an_overview_has_all_accounts(self):
        book = parse_book("2025-03-01 fees 120.00 Adler\n2025-03-02 gifts 60.00 Brand\n")
        self.assertEqual(overview(book).splitlines()[-1], "together       180.00")


if __name__ == "__main__":
    unittest.main()
E
commit "2025-03-15T10:12:00+01:00" "Statements for the members"

# --- 4: what a member found, as tests -----------------------------------------------------------
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_entries.py")
text = path.read_text()
text = text.replace(
    "    def test_half_amounts_are_refused(self):",
    "    def test_what_goes_out_has_a_minus(self):\n"
    "        self.assertEqual(parse_amount(\"-35.50\"), -3550)\n"
    "\n"
    "    def test_half_amounts_are_refused(self):",
)
path.write_text(text)

path = pathlib.Path("tests/test_statement.py")
text = path.read_text()
text = text.replace(
    "    def test_an_overview_has_all_accounts(self):",
    "    def test_the_hall_is_paid_for(self):\n"
    "        book = parse_book(\"2025-03-01 fees 120.00 Adler\\n2025-03-04 hall -35.50 Rent\\n\")\n"
    "        self.assertEqual(statement(book).splitlines()[1], \"2025-03-04     -35.50      84.50  Rent\")\n"
    "\n"
    "    def test_an_overview_has_all_accounts(self):",
)
path.write_text(text)
E
commit "2025-04-05T17:44:00+02:00" "Tests for payments that don't add up"

git rev-parse HEAD
