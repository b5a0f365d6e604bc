#!/usr/bin/env bash
# Makes the example repository: bills that come again and again, and when they are due.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: months ----------------------------------------------------------------------------------
mkdir -p bills tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# bills

Bills that come again and again: `rent; 950.00; every 1 months from 2025-01-15`.

    python3 -m bills bills.txt --from 2025-03-01 --to 2025-06-30
    python3 -m unittest -v
E
cat > bills/__init__.py <<'E'
"""What has to be paid, and when."""
E
cat > bills/months.py <<'E'
"""Counting in months."""

import calendar
from datetime import date


def days_in_month(year, month):
    return calendar.monthrange(year, month)[1]


def add_months(day, count):
    """The same day so many months later; the last of the month if it is too short for that."""
    index = day.year * 12 + (day.month - 1) + count
    year, month = index // 12, index % 12 + 1
    return date(year, month, min(day.day, days_in_month(year, month)))
E
touch tests/__init__.py
cat > tests/test_months.py <<'E'
import unittest
from datetime import date

from bills.months import add_months


class MonthsTest(unittest.TestCase):
    def test_a_year_may_end_in_between(self):
        self.assertEqual(add_months(date(2025, 11, 5), 3), date(2026, 2, 5))

    def test_short_months_end_early(self):
        self.assertEqual(add_months(date(2025, 1, 31), 1), date(2025, 2, 28))
        self.assertEqual(add_months(date(2027, 12, 30), 2), date(2028, 2, 29))


if __name__ == "__main__":
    unittest.main()
E
commit "2025-02-01T10:00:00+01:00" "Count in months"

# --- 2: rhythms ---------------------------------------------------------------------------------
cat > bills/rhythm.py <<'E'
"""How often something comes: every so many days, weeks or months, from a first day on."""

import re
from dataclasses import dataclass
from datetime import date, timedelta

from bills.months import add_months

WORDS = re.compile(r"every (\d+) (days|weeks|months) from (\d{4}-\d{2}-\d{2})$")


@dataclass(frozen=True)
class Rhythm:
    every: int
    unit: str
    first: date

    def after(self, day, steps=1):
        """The day so many steps later in this rhythm."""
        if self.unit == "months":
            return add_months(day, steps * self.every)
        days = self.every * (7 if self.unit == "weeks" else 1)
        return day + timedelta(days=steps * days)

    def days(self):
        """All days, without end."""
        day = self.first
        while True:
            yield day
            day = self.after(day)

    def between(self, start, end):
        """The days from start to end, both included."""
        found = []
        for day in self.days():
            if day > end:
                return found
            if day >= start:
                found.append(day)


def parse_rhythm(text):
    """A rhythm such as `every 2 weeks from 2025-01-31`."""
    found = WORDS.match(text)
    if not found or int(found[1]) < 1:
        raise ValueError(f"{text!r} is not a rhythm")
    return Rhythm(int(found[1]), found[2], date.fromisoformat(found[3]))
E
cat > tests/test_rhythm.py <<'E'
import unittest
from datetime import date

from bills.rhythm import Rhythm, parse_rhythm


class RhythmTest(unittest.TestCase):
    def test_a_rhythm_is_read(self):
        rhythm = parse_rhythm("every 2 weeks from 2025-01-31")
        self.assertEqual(rhythm, Rhythm(2, "weeks", date(2025, 1, 31)))

    def test_every_nought_days_is_refused(self):
        with self.assertRaises(ValueError):
            parse_rhythm("every 0 days from 2025-01-31")

    def test_weeks_go_on_into_the_next_month(self):
        days = parse_rhythm("every 2 weeks from 2025-01-20").between(date(2025, 2, 1), date(2025, 3, 3))
        self.assertEqual(days, [date(2025, 2, 3), date(2025, 2, 17), date(2025, 3, 3)])

    def test_months_keep_their_day(self):
        days = parse_rhythm("every 3 months from 2025-01-15").between(date(2025, 1, 1), date(2025, 8, 1))
        self.assertEqual(days, [date(2025, 1, 15), date(2025, 4, 15), date(2025, 7, 15)])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-02-02T16:45:00+01:00" "Days, weeks and months as a rhythm"

# --- 3: bills -----------------------------------------------------------------------------------
cat > bills/bill.py <<'E'
"""A bill: what for, how much, how often."""

from dataclasses import dataclass
from decimal import Decimal

from bills.rhythm import Rhythm, parse_rhythm


@dataclass(frozen=True)
class Bill:
    name: str
    amount: Decimal
    rhythm: Rhythm


def parse_bill(line):
    """A bill such as `rent; 950.00; every 1 months from 2025-01-15`."""
    parts = [part.strip() for part in line.split(";")]
    if len(parts) != 3:
        raise ValueError(f"expected name; amount; rhythm, got {line!r}")
    return Bill(parts[0], Decimal(parts[1]), parse_rhythm(parts[2]))


def parse_bills(text):
    """A bill on each line that isn't empty."""
    return [parse_bill(line) for line in text.splitlines() if line.strip()]
E
cat > bills/agenda.py <<'E'
"""What is due when."""


def due(bills, start, end):
    """Pairs of a day and a bill, by day; on one day by name."""
    pairs = [(day, bill) for bill in bills for day in bill.rhythm.between(start, end)]
    return sorted(pairs, key=lambda pair: (pair[0], pair[1].name))


def agenda(bills, start, end):
    """A line for each payment, and the sum."""
    payments = due(bills, start, end)
    lines = [f"{day}  {bill.amount:>9}  {bill.name}" for day, bill in payments]
    total = sum(bill.amount for _, bill in payments)
    lines.append(f"{'total':<10}  {total:>9}")
    return "\n".join(lines)
E
cat > bills/__main__.py <<'E'
"""python3 -m bills FILE --from DAY --to DAY"""

import argparse
import pathlib
from datetime import date

from bills.agenda import agenda
from bills.bill import parse_bills


def main():
    parser = argparse.ArgumentParser(prog="bills")
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--from", dest="start", type=date.fromisoformat, required=True)
    parser.add_argument("--to", dest="end", type=date.fromisoformat, required=True)
    options = parser.parse_args()
    print(agenda(parse_bills(options.file.read_text()), options.start, options.end))


if __name__ == "__main__":
    main()
E
cat > tests/test_agenda.py <<'E'
import unittest
from datetime import date

from bills.agenda import agenda
from bills.bill import parse_bills

FLAT = parse_bills("""
rent; 950.00; every 1 months from 2025-01-03
water; 60.50; every 2 weeks from 2025-01-03
""")


class AgendaTest(unittest.TestCase):
    def test_payments_come_by_day_and_name(self):
        self.assertEqual(agenda(FLAT, date(2025, 1, 1), date(2025, 1, 31)).splitlines(), [
            "2025-01-03     950.00  rent",
            "2025-01-03      60.50  water",
            "2025-01-17      60.50  water",
            "2025-01-31      60.50  water",
            "total         1131.50",
        ])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-02-09T19:20:00+01:00" "An agenda of payments"

# --- 4: the report of a user, as a test ---------------------------------------------------------
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_agenda.py")
text = path.read_text()
text = text.replace(
    "\n\nif __name__",
    "\n"
    "    def test_the_last_of_the_month_comes_back(self):\n"
    "        loan = parse_bills(\"loan; 100; every 1 months from 2025-01-31\")\n"
    "        lines = agenda(loan, date(2025, 2, 1), date(2025, 3, 31)).splitlines()\n"
    "        self.assertEqual([line[:10] for line in lines[:-1]], [\"2025-02-28\", \"2025-03-31\"])\n"
    "\n\nif __name__",
)
path.write_text(text)
E
commit "2025-03-29T08:02:00+01:00" "Test for a loan that comes too early after February"

git rev-parse HEAD
