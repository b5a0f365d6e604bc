import unittest
from datetime import date

from bills.agenda import due
from bills.bill import parse_bills
from bills.months import add_months
from bills.rhythm import parse_rhythm


def ends(text, start, end):
    return [str(day) for day in parse_rhythm(text).between(date.fromisoformat(start), date.fromisoformat(end))]


class HiddenRhythmTest(unittest.TestCase):
    def test_the_thirty_first_all_year(self):
        days = ends("every 1 months from 2025-01-31", "2025-01-01", "2025-12-31")
        self.assertEqual([int(day[-2:]) for day in days], [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])

    def test_the_thirtieth_is_not_the_last(self):
        days = ends("every 1 months from 2025-01-30", "2025-02-01", "2025-05-31")
        self.assertEqual(days, ["2025-02-28", "2025-03-30", "2025-04-30", "2025-05-30"])

    def test_what_begins_on_the_last_of_a_short_month_keeps_its_day(self):
        self.assertEqual(ends("every 1 months from 2025-04-30", "2025-05-01", "2025-06-30"), ["2025-05-30", "2025-06-30"])
        self.assertEqual(ends("every 1 months from 2025-02-28", "2025-03-01", "2025-04-30"), ["2025-03-28", "2025-04-28"])

    def test_quarters_and_years_keep_their_day_too(self):
        self.assertEqual(ends("every 3 months from 2025-08-31", "2025-11-01", "2026-05-31"),
                         ["2025-11-30", "2026-02-28", "2026-05-31"])
        self.assertEqual(ends("every 12 months from 2024-02-29", "2025-01-01", "2028-12-31"),
                         ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"])

    def test_days_and_weeks_are_as_before(self):
        self.assertEqual(ends("every 10 days from 2025-01-31", "2025-02-01", "2025-03-05"),
                         ["2025-02-10", "2025-02-20", "2025-03-02"])
        self.assertEqual(ends("every 1 weeks from 2025-02-26", "2025-02-27", "2025-03-12"), ["2025-03-05", "2025-03-12"])

    def test_counting_in_months_is_as_before(self):
        self.assertEqual(add_months(date(2025, 2, 28), 1), date(2025, 3, 28))

    def test_the_agenda_has_them_in_order(self):
        bills = parse_bills("b; 1; every 1 months from 2025-01-31\na; 1; every 1 months from 2025-01-30\n")
        pairs = [(str(day), bill.name) for day, bill in due(bills, date(2025, 2, 1), date(2025, 3, 31))]
        self.assertEqual(pairs, [("2025-02-28", "a"), ("2025-02-28", "b"), ("2025-03-30", "a"), ("2025-03-31", "b")])


if __name__ == "__main__":
    unittest.main()
