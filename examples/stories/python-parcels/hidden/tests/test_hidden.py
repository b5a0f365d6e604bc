import unittest

from parcels.quote import Parcel, cost, quote
from parcels.zones import zone_of


class HiddenParcelsTest(unittest.TestCase):
    def test_all_others_are_far(self):
        for country in ("JP", "BR", "NZ", "US", "GB", "ZA"):
            self.assertEqual(zone_of(country), "world", country)

    def test_what_is_near_stays_near(self):
        for country in ("AT", "BE", "CH", "CZ", "DK", "FR", "LU", "NL", "PL"):
            self.assertEqual(zone_of(country), "near", country)

    def test_germany_is_home(self):
        self.assertEqual(zone_of("DE"), "home")

    def test_small_letters_mean_the_same(self):
        self.assertEqual([zone_of(country) for country in ("de", "at", "jp", "Nl")], ["home", "near", "world", "near"])

    def test_quotes_follow(self):
        self.assertEqual([cost(Parcel(country, 2000)) for country in ("DE", "PL", "BR")], [770, 1670, 3370])
        self.assertTrue(quote([Parcel("JP", 10000), Parcel("DE", 100)]).endswith("together: 81.00"))

    def test_names_are_still_refused(self):
        for text in ("Japan", "J", ""):
            with self.assertRaises(ValueError):
                zone_of(text)


if __name__ == "__main__":
    unittest.main()
