import unittest
from datetime import date

from cashbook.balance import balance
from cashbook.entries import Entry, parse_amount, parse_book
from cashbook.statement import format_amount, overview, statement


class HiddenCashBookTest(unittest.TestCase):
    def test_below_one_euro_the_minus_counts(self):
        self.assertEqual(parse_amount("-0.85"), -85)
        self.assertEqual(parse_amount("-0.05"), -5)
        self.assertEqual(parse_amount("-0.00"), 0)

    def test_negative_cents_are_printed_as_written(self):
        for cents, text in ((-1, "-0.01"), (-85, "-0.85"), (-100, "-1.00"), (-199, "-1.99"), (-12000, "-120.00")):
            self.assertEqual(format_amount(cents), text)

    def test_every_amount_comes_back(self):
        for cents in range(-450, 450):
            self.assertEqual(parse_amount(format_amount(cents)), cents)

    def test_the_till_may_be_empty_or_owe(self):
        book = parse_book("2025-05-01 post -0.85 Stamp\n2025-05-02 fees 0.85 Adler\n")
        self.assertEqual(statement(book).splitlines(),
                         ["2025-05-01      -0.85      -0.85  Stamp", "2025-05-02       0.85       0.00  Adler"])
        self.assertEqual(balance(book), 0)

    def test_an_overview_has_what_went_out(self):
        book = [Entry(date(2025, 5, 1), "hall", -3550, "Rent"), Entry(date(2025, 5, 2), "post", -85, "Stamp")]
        self.assertEqual(overview(book).splitlines(),
                         ["hall           -35.50", "post            -0.85", "together       -36.35"])

    def test_two_minuses_are_still_refused(self):
        for text in ("--3.00", "-", "-.50", "3.-50"):
            with self.assertRaises(ValueError):
                parse_amount(text)


if __name__ == "__main__":
    unittest.main()
