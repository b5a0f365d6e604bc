import unittest

from station.days import days
from station.readings import parse_readings
from station.table import table


class HiddenWeatherTest(unittest.TestCase):
    def test_any_temperatures_have_their_extremes(self):
        for temperatures in ([-2.5, -7.5, -3.0], [-0.5], [3.0, -3.0], [31.5, 12.0], [0.0], [-40.0, -41.0]):
            lines = [f"2025-12-27T{hour:02}:00 {temperature} 0.0" for hour, temperature in enumerate(temperatures)]
            day = days(parse_readings("\n".join(lines)))[0]
            self.assertEqual((day.lowest, day.highest), (min(temperatures), max(temperatures)))

    def test_a_single_reading_is_both(self):
        day = days(parse_readings("2025-12-27T06:00 -12.5 0.0"))[0]
        self.assertEqual((day.lowest, day.highest), (-12.5, -12.5))

    def test_only_frost_all_day_has_a_star(self):
        text = "2025-12-26T06:00 -3 0\n2025-12-26T14:00 0 0\n2025-12-27T06:00 -3 0\n2025-12-28T06:00 -3 0\n2025-12-28T14:00 2 0\n"
        self.assertEqual([line.endswith("*") for line in table(text).splitlines()[1:]], [False, True, False])

    def test_days_do_not_touch_each_other(self):
        text = "2025-12-26T14:00 -1.5 0\n2025-12-27T06:00 -9.0 0\n2025-12-27T14:00 -4.0 0\n"
        self.assertEqual([(day.lowest, day.highest) for day in days(parse_readings(text))], [(-1.5, -1.5), (-9.0, -4.0)])


if __name__ == "__main__":
    unittest.main()
