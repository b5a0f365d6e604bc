import unittest

from shelf.books import Book
from shelf.pages import page_count
from shelf.render import render_page


class HiddenPagesTest(unittest.TestCase):
    def test_every_length_has_just_the_pages_it_needs(self):
        for per_page in range(1, 8):
            for total in range(1, 40):
                full, rest = divmod(total, per_page)
                expected = full + (1 if rest else 0)
                self.assertEqual(page_count(total, per_page), expected, (total, per_page))

    def test_the_empty_list_keeps_its_page(self):
        for per_page in (1, 2, 10):
            self.assertEqual(page_count(0, per_page), 1)

    def test_a_page_without_room_is_still_refused(self):
        for per_page in (0, -1):
            with self.assertRaises(ValueError):
                page_count(3, per_page)

    def test_the_footer_of_a_full_page_is_right(self):
        books = [Book(f"Book {n}", "Someone", 1900 + n) for n in range(4)]
        self.assertTrue(render_page(books, 2, 2).endswith("page 2 of 2: 1 [2]"))


if __name__ == "__main__":
    unittest.main()
