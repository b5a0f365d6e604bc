import unittest
from datetime import timedelta

from visits.logline import parse_log
from visits.report import report
from visits.grouping import find_visits


def visits_of(*minutes, visitor="a"):
    lines = [f"2025-06-01T{8 + each // 60:02}:{each % 60:02}:00 {visitor} /p{each} 200" for each in minutes]
    return find_visits(parse_log("\n".join(lines)))


class HiddenVisitsTest(unittest.TestCase):
    def test_half_an_hour_between_two_is_no_pause(self):
        found = visits_of(0, 30, 60, 90, 120)
        self.assertEqual(len(found), 1)
        self.assertEqual(found[0].length, timedelta(hours=2))

    def test_a_minute_more_is_one(self):
        self.assertEqual([len(visit.requests) for visit in visits_of(0, 31, 61, 92)], [1, 2, 1])

    def test_a_pause_within_a_short_time_ends_it(self):
        self.assertEqual([len(visit.requests) for visit in visits_of(0, 5, 40, 45)], [2, 2])

    def test_others_in_between_change_nothing(self):
        log = ["2025-06-01T10:00:00 a /1 200", "2025-06-01T10:10:00 b /1 200", "2025-06-01T10:25:00 a /2 200",
               "2025-06-01T10:45:00 b /2 200", "2025-06-01T10:50:00 a /3 200"]
        found = find_visits(parse_log("\n".join(log)))
        self.assertEqual([(visit.visitor, len(visit.requests)) for visit in found], [("a", 3), ("b", 1), ("b", 1)])

    def test_the_report_has_the_whole_length(self):
        log = "\n".join(f"2025-06-01T10:{minute}:00 a / 200" for minute in ("00", "20", "40"))
        self.assertEqual(report(log).splitlines()[1], "3 pages read, 40 minutes on average")


if __name__ == "__main__":
    unittest.main()
