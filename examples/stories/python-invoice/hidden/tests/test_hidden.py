import unittest
from decimal import Decimal

from invoices.lines import parse_line, parse_lines
from invoices.printing import print_invoice
from invoices.sums import amount_of, sums_of


class HiddenDiscountTest(unittest.TestCase):
    def test_every_per_cent_counts(self):
        for per_cent in range(1, 101):
            line = parse_line(f"3 x Board @ 100.00 -{per_cent}%")
            self.assertEqual(amount_of(line), Decimal(300 - 3 * per_cent), per_cent)

    def test_half_a_cent_goes_up(self):
        self.assertEqual(amount_of(parse_line("1 x Hook @ 0.05 -10%")), Decimal("0.05"))
        self.assertEqual(amount_of(parse_line("5 x Hook @ 0.33 -10%")), Decimal("1.49"))

    def test_sums_follow_from_discounted_lines(self):
        sums = sums_of(parse_lines("2 x Chair @ 45.00 -10%\n1 x Table @ 300.00 -25%\n1 x Lamp @ 20.00\n"))
        self.assertEqual((sums.net, sums.tax), (Decimal("326.00"), Decimal("61.94")))

    def test_too_much_and_nothing_are_refused(self):
        for end in ("-0%", "-101%", "-1000%", "-%", "-2.5%"):
            with self.assertRaises(ValueError, msg=end):
                parse_line(f"2 x Chair @ 45.00 {end}")

    def test_lines_without_a_discount_are_as_before(self):
        line = parse_line("2 x Chair @ 45.00")
        self.assertEqual(amount_of(line), Decimal("90.00"))
        self.assertEqual(print_invoice("Adler", [line]).splitlines()[2], "2 x Chair, 45.00 each              90.00")

    def test_a_title_may_have_a_per_cent_sign(self):
        line = parse_line("1 x Oil, -10% water @ 8.00")
        self.assertEqual(amount_of(line), Decimal("8.00"))

    def test_the_invoice_has_all_of_it(self):
        text = print_invoice("Adler", parse_lines("1 x Table @ 300.00 -25%\n1 x Lamp @ 20.00\n"))
        self.assertEqual(text.splitlines()[2:4], [
            "1 x Table, 300.00 each -25%       225.00",
            "1 x Lamp, 20.00 each               20.00",
        ])


if __name__ == "__main__":
    unittest.main()
