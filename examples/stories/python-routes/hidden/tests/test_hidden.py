import unittest

from signpost.pattern import BadPattern, Pattern
from signpost.router import Router
from signpost.site import Site


class HiddenNumbersTest(unittest.TestCase):
    def test_only_digits_fit(self):
        pattern = Pattern("/pages/<int:number>")
        for part in ("", "-1", "1.5", "12a", " 1", "1_000", "\u00b2", "\u0663"):
            self.assertIsNone(pattern.match(f"/pages/{part}"), part)
        self.assertEqual(pattern.match("/pages/0"), {"number": 0})

    def test_the_value_is_a_whole_number(self):
        value = Pattern("/<int:year>").match("/2025")["year"]
        self.assertIs(type(value), int)
        self.assertEqual(value, 2025)

    def test_a_plain_gap_keeps_its_text(self):
        self.assertEqual(Pattern("/<name>").match("/2025"), {"name": "2025"})
        self.assertEqual(Pattern("/<name>/<int:part>").match("/7/8"), {"name": "7", "part": 8})

    def test_another_pattern_may_answer(self):
        router = Router()
        router.add("/pages/<int:number>", "page")
        router.add("/pages/<title>", "titled")
        self.assertEqual(router.find("/pages/last"), ("titled", {"title": "last"}))
        self.assertEqual(router.find("/pages/5"), ("page", {"number": 5}))

    def test_links_take_whole_numbers_only(self):
        pattern = Pattern("/pages/<int:number>")
        self.assertEqual(pattern.fill({"number": 0}), "/pages/0")
        for wrong in ("last", -1, 1.5, None):
            with self.assertRaises(ValueError):
                pattern.fill({"number": wrong})

    def test_other_words_are_bad(self):
        for text in ("/<float:x>", "/<:x>", "/<int:>", "/<int:two words>", "/<int:a:b>"):
            with self.assertRaises(BadPattern):
                Pattern(text)

    def test_pages_get_numbers(self):
        site = Site()

        @site.page("/pages/<int:number>")
        def page(number):
            return f"next: {number + 1}"

        self.assertEqual(site.get("/pages/41"), (200, "next: 42"))
        self.assertEqual(site.get("/pages/x")[0], 404)


if __name__ == "__main__":
    unittest.main()
