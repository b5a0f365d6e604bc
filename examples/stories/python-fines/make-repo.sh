#!/usr/bin/env bash
# Makes the example repository: what readers of a library owe.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: loans -----------------------------------------------------------------------------------
mkdir -p library tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# library

What readers owe for books that came back late.

    python3 -m unittest -v
E
cat > library/__init__.py <<'E'
"""A small library."""
E
cat > library/loans.py <<'E'
"""Who has which book until when."""

from dataclasses import dataclass
from datetime import date, timedelta

TERM = timedelta(days=28)


@dataclass(frozen=True)
class Loan:
    reader: str
    title: str
    lent: date
    returned: date

    @property
    def due(self):
        return self.lent + TERM

    def days_late(self):
        """Days after the one on which it was due; 0 if it came back in time."""
        return max(0, (self.returned - self.due).days)


def parse_loan(line):
    """A loan such as `Ada | Emma | 2025-01-02 | 2025-02-03`."""
    reader, title, lent, returned = [part.strip() for part in line.split("|")]
    return Loan(reader, title, date.fromisoformat(lent), date.fromisoformat(returned))
E
touch tests/__init__.py
cat > tests/test_loans.py <<'E'
import unittest

from library.loans import parse_loan


class LoansTest(unittest.TestCase):
    def test_a_book_is_lent_for_four_weeks(self):
        loan = parse_loan("Ada | Emma | 2025-01-02 | 2025-02-03")
        self.assertEqual(str(loan.due), "2025-01-30")
        self.assertEqual(loan.days_late(), 4)

    def test_a_book_may_come_back_early(self):
        self.assertEqual(parse_loan("Ada | Emma | 2025-01-02 | 2025-01-09").days_late(), 0)


if __name__ == "__main__":
    unittest.main()
E
commit "2025-01-07T10:00:00+01:00" "Loans of four weeks"

# --- 2: fines -----------------------------------------------------------------------------------
cat > library/fines.py <<'E'
"""What a late book costs, in cents."""

A_DAY = 20
MOST = 500
FORGIVEN = 2


def fine(loan):
    """Each day costs, up to a limit; who is only a little late pays nothing."""
    days = loan.days_late()
    if days <= FORGIVEN:
        return 0
    return min(days * A_DAY, MOST)


def owed(loans):
    """What each reader owes, by name; who owes nothing is left out."""
    sums = {}
    for loan in loans:
        if fine(loan):
            sums[loan.reader] = sums.get(loan.reader, 0) + fine(loan)
    return dict(sorted(sums.items()))
E
cat > tests/test_fines.py <<'E'
import unittest

from library.fines import fine, owed
from library.loans import parse_loan


class FinesTest(unittest.TestCase):
    def test_each_day_costs(self):
        self.assertEqual(fine(parse_loan("Ada | Emma | 2025-01-02 | 2025-02-03")), 80)

    def test_there_is_a_limit(self):
        self.assertEqual(fine(parse_loan("Ada | Emma | 2025-01-02 | 2025-09-03")), 500)

    def test_two_days_are_forgiven(self):
        self.assertEqual(fine(parse_loan("Ada | Emma | 2025-01-02 | 2025-02-01")), 0)

    def test_readers_owe_for_all_their_books(self):
        loans = [
            parse_loan("Ada | Emma | 2025-01-02 | 2025-02-03"),
            parse_loan("Ben | Orlando | 2025-01-02 | 2025-01-20"),
            parse_loan("Ada | Persuasion | 2025-01-02 | 2025-02-04"),
        ]
        self.assertEqual(owed(loans), {"Ada": 180})


if __name__ == "__main__":
    unittest.main()
E
commit "2025-01-14T10:40:00+01:00" "Fines for late books, two days forgiven"

# --- 3: letters ---------------------------------------------------------------------------------
cat > library/letters.py <<'E'
"""What readers are written."""

from library.fines import fine


def euros(cents):
    return f"{cents // 100}.{cents % 100:02}"


def letter(reader, loans):
    """What a reader owes and for which books."""
    late = [loan for loan in loans if loan.reader == reader and fine(loan)]
    if not late:
        return f"Dear {reader}, you owe us nothing."
    lines = [f"Dear {reader}, you owe us {euros(sum(fine(loan) for loan in late))}:"]
    lines += [f"  {loan.title}, {loan.days_late()} days late: {euros(fine(loan))}" for loan in late]
    return "\n".join(lines)
E
cat > tests/test_letters.py <<'E'
import unittest

from library.letters import letter
from library.loans import parse_loan


class LettersTest(unittest.TestCase):
    def test_a_letter_names_the_books(self):
        loans = [parse_loan("Ada | Emma | 2025-01-02 | 2025-02-03")]
        self.assertEqual(letter("Ada", loans), "Dear Ada, you owe us 0.80:\n  Emma, 4 days late: 0.80")

    def test_who_was_in_time_owes_nothing(self):
        self.assertEqual(letter("Ben", []), "Dear Ben, you owe us nothing.")


if __name__ == "__main__":
    unittest.main()
E
commit "2025-01-21T09:15:00+01:00" "Letters to readers"

# --- 4: what is wanted, as a test ---------------------------------------------------------------
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_fines.py")
text = path.read_text()
text = text.replace(
    "    def test_readers_owe_for_all_their_books(self):",
    "    def test_every_late_day_is_paid_for(self):\n"
    "        self.assertEqual(owed([parse_loan(\"Ada | Emma | 2025-01-02 | 2025-01-31\")]), {\"Ada\": 20})\n"
    "        self.assertEqual(fine(parse_loan(\"Ada | Emma | 2025-01-02 | 2025-02-01\")), 40)\n"
    "\n"
    "    def test_readers_owe_for_all_their_books(self):",
)
path.write_text(text)
E
commit "2025-02-11T18:21:00+01:00" "Test for days that nobody pays for"

git rev-parse HEAD
