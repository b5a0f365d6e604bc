import unittest

from mdtoc.headings import find_headings
from mdtoc.table import table


def titles(text):
    return [each.title for each in find_headings(text)]


class HiddenHeadingsTest(unittest.TestCase):
    def test_a_language_may_be_named(self):
        for first in ("~~~sh", "~~~python", "~~~ text"):
            self.assertEqual(titles(f"# One\n{first}\n# no\n## neither\n~~~\n# Two\n"), ["One", "Two"], first)

    def test_several_blocks_may_follow(self):
        text = "# One\n~~~\n# no\n~~~\n## Two\n```\n# no\n```\n## Three\n~~~c\n# no\n~~~\n"
        self.assertEqual(titles(text), ["One", "Two", "Three"])

    def test_an_empty_block_hides_nothing(self):
        self.assertEqual(titles("~~~\n~~~\n# One\n"), ["One"])

    def test_one_or_two_tildes_are_text(self):
        self.assertEqual(titles("~ hm\n# One\n~~struck~~\n# Two\n"), ["One", "Two"])

    def test_the_table_is_without_them(self):
        self.assertEqual(table("# One\n~~~sh\n# One\n~~~\n# One\n"), "- [One](#one)\n- [One](#one-1)")


if __name__ == "__main__":
    unittest.main()
