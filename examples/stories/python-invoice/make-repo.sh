#!/usr/bin/env bash
# Makes the example repository: invoices that are read, summed and printed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: lines -----------------------------------------------------------------------------------
mkdir -p invoices tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# invoices

Makes an invoice out of lines such as `2 x Chair @ 45.00`.

    python3 -m unittest -v
E
cat > invoices/__init__.py <<'E'
"""Invoices of a joiner's workshop."""
E
cat > invoices/lines.py <<'E'
"""One line of an invoice: how many of what, at which price."""

import re
from dataclasses import dataclass
from decimal import Decimal

LINE = re.compile(r"(\d+) x (.+) @ (\d+\.\d\d)$")


@dataclass(frozen=True)
class Line:
    count: int
    title: str
    price: Decimal


def parse_line(text):
    """The line that a text such as `2 x Chair @ 45.00` stands for."""
    found = LINE.match(text.strip())
    if not found:
        raise ValueError(f"expected count x title @ price, got {text!r}")
    return Line(int(found[1]), found[2], Decimal(found[3]))


def parse_lines(text):
    """All lines of a text; empty ones are skipped."""
    return [parse_line(line) for line in text.splitlines() if line.strip()]
E
touch tests/__init__.py
cat > tests/test_lines.py <<'E'
import unittest
from decimal import Decimal

from invoices.lines import Line, parse_line, parse_lines


class LinesTest(unittest.TestCase):
    def test_a_line_is_read(self):
        self.assertEqual(parse_line("2 x Chair, oak @ 45.00"), Line(2, "Chair, oak", Decimal("45.00")))

    def test_other_text_is_refused(self):
        for text in ("Chair", "two x Chair @ 45.00", "2 x Chair @ 45"):
            with self.assertRaises(ValueError):
                parse_line(text)

    def test_empty_lines_are_skipped(self):
        self.assertEqual(len(parse_lines("1 x Table @ 300.00\n\n4 x Chair @ 45.00\n")), 2)


if __name__ == "__main__":
    unittest.main()
E
commit "2025-08-04T08:30:00+02:00" "Lines of an invoice"

# --- 2: sums ------------------------------------------------------------------------------------
cat > invoices/sums.py <<'E'
"""What a line and a whole invoice come to."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")
TAX = Decimal("0.19")


def to_cents(amount):
    """Rounded to cents; half a cent goes up."""
    return amount.quantize(CENT, rounding=ROUND_HALF_UP)


def amount_of(line):
    """What one line comes to, without tax."""
    return to_cents(line.count * line.price)


@dataclass(frozen=True)
class Sums:
    net: Decimal
    tax: Decimal

    @property
    def gross(self):
        return self.net + self.tax


def sums_of(lines):
    """The sums of an invoice. The tax is worked out once, from the sum of all lines."""
    net = sum((amount_of(line) for line in lines), Decimal("0.00"))
    return Sums(net, to_cents(net * TAX))
E
cat > tests/test_sums.py <<'E'
import unittest
from decimal import Decimal

from invoices.lines import parse_line, parse_lines
from invoices.sums import amount_of, sums_of


class SumsTest(unittest.TestCase):
    def test_a_line_comes_to_count_times_price(self):
        self.assertEqual(amount_of(parse_line("3 x Shelf @ 19.99")), Decimal("59.97"))

    def test_tax_is_rounded_once(self):
        sums = sums_of(parse_lines("1 x Hook @ 0.03\n1 x Nail @ 0.03\n"))
        self.assertEqual((sums.net, sums.tax, sums.gross), (Decimal("0.06"), Decimal("0.01"), Decimal("0.07")))

    def test_nothing_costs_nothing(self):
        self.assertEqual(sums_of([]).gross, 0)


if __name__ == "__main__":
    unittest.main()
E
commit "2025-08-05T12:15:00+02:00" "Sums and tax"

# --- 3: printing --------------------------------------------------------------------------------
cat > invoices/printing.py <<'E'
"""An invoice as text."""

from invoices.sums import amount_of, sums_of

WIDTH = 40


def row(left, amount):
    """A text to the left and an amount to the right."""
    return f"{left:<{WIDTH - 10}}{amount:>10}"


def describe(line):
    """What a line is about."""
    return f"{line.count} x {line.title}, {line.price} each"


def print_invoice(customer, lines):
    """The whole invoice."""
    sums = sums_of(lines)
    rows = [f"Invoice for {customer}", ""]
    rows += [row(describe(line), amount_of(line)) for line in lines]
    rows += ["-" * WIDTH, row("net", sums.net), row("19 % tax", sums.tax), row("to pay", sums.gross)]
    return "\n".join(rows)
E
cat > tests/test_printing.py <<'E'
import unittest

from invoices.lines import parse_lines
from invoices.printing import print_invoice


class PrintingTest(unittest.TestCase):
    def test_an_invoice_has_lines_and_sums(self):
        text = print_invoice("Brook & Co", parse_lines("2 x Chair @ 45.00\n1 x Table @ 300.00\n"))
        self.assertEqual(text.splitlines(), [
            "Invoice for Brook & Co",
            "",
            "2 x Chair, 45.00 each              90.00",
            "1 x Table, 300.00 each            300.00",
            "----------------------------------------",
            "net                               390.00",
            "19 % tax                           74.10",
            "to pay                            464.10",
        ])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-08-06T17:50:00+02:00" "Print an invoice"

# --- 4: what is wanted, as tests ----------------------------------------------------------------
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_sums.py")
text = path.read_text()
text = text.replace(
    "    def test_tax_is_rounded_once(self):",
    "    def test_a_discount_is_taken_off_the_line(self):\n"
    "        self.assertEqual(amount_of(parse_line(\"2 x Chair @ 45.00 -10%\")), Decimal(\"81.00\"))\n"
    "\n"
    "    def test_tax_is_rounded_once(self):",
)
path.write_text(text)

path = pathlib.Path("tests/test_printing.py")
text = path.read_text()
text = text.replace(
    "\n\nif __name__",
    "\n"
    "    def test_a_discount_is_printed(self):\n"
    "        text = print_invoice(\"Brook & Co\", parse_lines(\"2 x Chair @ 45.00 -10%\\n\"))\n"
    "        self.assertIn(\"2 x Chair, 45.00 each -10%         81.00\", text.splitlines())\n"
    "\n\nif __name__",
)
path.write_text(text)
E
commit "2025-08-25T09:33:00+02:00" "Tests for discounts"

git rev-parse HEAD
