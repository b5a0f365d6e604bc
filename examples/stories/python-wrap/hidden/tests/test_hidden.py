import unittest

from display.departures import board
from display.wrap import wrap

TEXT = "12 Leichlingen via Sandhofen-Niederwupper in 4 min"


class HiddenWrapTest(unittest.TestCase):
    def test_no_line_is_too_long(self):
        for width in range(1, 60):
            for line in wrap(TEXT, width):
                self.assertLessEqual(len(line), width)

    def test_nothing_is_lost(self):
        for width in range(1, 8):
            self.assertEqual("".join(wrap("Leichlingen", width)).replace("-", ""), "Leichlingen")

    def test_every_part_but_the_last_has_a_hyphen(self):
        self.assertEqual(wrap("Leichlingen", 5), ["Leic-", "hlin-", "gen"])

    def test_one_column_has_no_hyphens(self):
        self.assertEqual(wrap("bus 7", 1), ["b", "u", "s", "7"])

    def test_a_word_that_just_fits_is_not_broken(self):
        self.assertEqual(wrap("to Leichlingen", 11), ["to", "Leichlingen"])

    def test_the_board_keeps_its_width(self):
        for screen in board([("12", "Leichlingen", 4)], 8, 2):
            self.assertEqual([len(line) for line in screen], [8, 8])


if __name__ == "__main__":
    unittest.main()
