import itertools
import pathlib
import tempfile
import unittest

from keep.reader import read_settings
from keep.store import Store
from keep.writer import write_settings


def there_and_back(value):
    return read_settings(write_settings({"a": {"b": value}}))["a"]["b"]


class HiddenSettingsTest(unittest.TestCase):
    def test_all_short_mixtures_come_back(self):
        for length in range(1, 6):
            for letters in itertools.product("\\n\nx", repeat=length):
                value = "x" + "".join(letters) + "x"
                self.assertEqual(there_and_back(value), value)

    def test_a_value_is_written_on_one_line(self):
        text = write_settings({"a": {"b": "one\\\ntwo"}})
        self.assertEqual(text, "[a]\nb = one\\\\\\ntwo\n")

    def test_other_backslashes_are_read_as_they_are(self):
        self.assertEqual(read_settings("[a]\nb = 50\\%, \\t")["a"]["b"], "50\\%, \\t")

    def test_a_backslash_at_the_end_is_kept(self):
        self.assertEqual(there_and_back("D:\\"), "D:\\")
        self.assertEqual(read_settings("[a]\nb = D:\\")["a"]["b"], "D:\\")

    def test_two_are_read_as_one(self):
        self.assertEqual(read_settings("[a]\nb = \\\\\\\\server\\\\new")["a"]["b"], "\\\\server\\new")

    def test_a_store_keeps_both_together(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "settings"
            store = Store(path)
            store.set("backup.folders", "D:\\new\nE:\\notes")
            store.save()
            self.assertEqual(Store(path).get("backup.folders"), "D:\\new\nE:\\notes")


if __name__ == "__main__":
    unittest.main()
