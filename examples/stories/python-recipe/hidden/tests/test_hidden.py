import unittest
from fractions import Fraction

from pantry.recipe import parse_recipe
from pantry.scale import scale_recipe, to_quarters


class HiddenScaleTest(unittest.TestCase):
    def test_every_amount_goes_to_the_nearest(self):
        for sixteenths in range(4, 200):
            amount = Fraction(sixteenths, 16)
            if sixteenths % 4 == 2:
                continue  # half-way
            self.assertLess(abs(to_quarters(amount) - amount), Fraction(1, 8), amount)

    def test_quarters_stay_as_they_are(self):
        for quarters in range(1, 30):
            self.assertEqual(to_quarters(Fraction(quarters, 4)), Fraction(quarters, 4))

    def test_amounts_below_are_not_raised(self):
        self.assertEqual(to_quarters(Fraction(4, 3)), Fraction(5, 4))
        self.assertEqual(to_quarters(Fraction(81, 80)), 1)

    def test_something_is_left_of_everything(self):
        self.assertEqual(to_quarters(Fraction(1, 100)), Fraction(1, 4))

    def test_a_whole_recipe_is_scaled_so(self):
        recipe = parse_recipe("Dough\nserves 3\n1 | cup | water\n2 1/2 | cup | flour\n1/4 | spoon | salt\n")
        amounts = [each.amount for each in scale_recipe(recipe, 5).ingredients]
        self.assertEqual(amounts, [Fraction(7, 4), Fraction(17, 4), Fraction(1, 2)])


if __name__ == "__main__":
    unittest.main()
