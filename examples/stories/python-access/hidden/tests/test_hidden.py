import unittest

from gatehouse.paths import covers
from gatehouse.policy import Policy


class HiddenAccessTest(unittest.TestCase):
    def test_a_folder_covers_itself_and_all_below(self):
        for path in ("/news", "/news/2025", "/news/2025/may/one.txt"):
            self.assertTrue(covers("/news", path), path)

    def test_names_that_begin_alike_are_others(self):
        for path in ("/newsletter", "/news-archive/2025", "/news.txt", "/news2", "/new", "/"):
            self.assertFalse(covers("/news", path), path)

    def test_the_top_covers_everything(self):
        policy = Policy.parse("allow everyone read /")
        for path in ("/", "/a", "/a/b/c", "/news-archive"):
            self.assertTrue(policy.may(set(), "read", path), path)

    def test_a_denial_stays_in_its_folder(self):
        policy = Policy.parse("allow everyone read /\ndeny everyone read /hr/\n")
        self.assertTrue(policy.may({"staff"}, "read", "/hrefs.txt"))
        self.assertFalse(policy.may({"staff"}, "read", "/hr"))
        self.assertFalse(policy.may({"staff"}, "read", "/hr/pay.txt"))

    def test_deeper_folders_have_neighbours_too(self):
        policy = Policy.parse("allow staff write /a/b")
        self.assertTrue(policy.may({"staff"}, "write", "/a//b/c"))
        self.assertFalse(policy.may({"staff"}, "write", "/a/bc"))


if __name__ == "__main__":
    unittest.main()
