#!/usr/bin/env bash
# Makes the example repository: who may do what in which folder.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: paths -----------------------------------------------------------------------------------
mkdir -p gatehouse tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# gatehouse

Who may do what in which folder? A policy has one rule a line:

    allow editors write /articles
    deny  everyone read /articles/drafts

Of all rules that apply, the one with the longest folder decides; of equals, a denial. Nothing applies: no.

    python3 -m unittest -v
E
cat > gatehouse/__init__.py <<'E'
"""Permissions for folders."""
E
cat > gatehouse/paths.py <<'E'
"""Paths of folders and files, always from the top: `/articles/2025`."""


def normalise(path):
    """Without double or trailing slashes; ValueError if it doesn't begin at the top."""
    if not path.startswith("/"):
        raise ValueError(f"{path!r} must begin with /")
    parts = [part for part in path.split("/") if part]
    if ".." in parts:
        raise ValueError(f"{path!r} must not go upwards")
    return "/" + "/".join(parts)


def depth(path):
    """How far below the top."""
    return len([part for part in path.split("/") if part])


def covers(folder, path):
    """Whether the path is the folder, or lies in it."""
    return path.startswith(folder)
E
touch tests/__init__.py
cat > tests/test_paths.py <<'E'
import unittest

from gatehouse.paths import covers, depth, normalise


class PathsTest(unittest.TestCase):
    def test_slashes_are_tidied(self):
        self.assertEqual(normalise("//articles/2025/"), "/articles/2025")
        self.assertEqual(normalise("/"), "/")

    def test_nothing_leads_upwards(self):
        with self.assertRaises(ValueError):
            normalise("/articles/../secrets")

    def test_a_folder_covers_what_lies_in_it(self):
        self.assertTrue(covers("/articles", "/articles/2025/march"))
        self.assertFalse(covers("/articles", "/images"))

    def test_depth_is_counted_from_the_top(self):
        self.assertEqual([depth("/"), depth("/a"), depth("/a/b")], [0, 1, 2])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-04-07T09:30:00+02:00" "Paths from the top"

# --- 2: rules -----------------------------------------------------------------------------------
cat > gatehouse/rules.py <<'E'
"""One rule: whom it is about, and where it applies."""

from dataclasses import dataclass

from gatehouse.paths import covers, depth, normalise

ACTIONS = ("read", "write", "delete")
EVERYONE = "everyone"


@dataclass(frozen=True)
class Rule:
    allow: bool
    group: str
    action: str
    folder: str

    def applies(self, groups, action, path):
        """Whether it says anything about members of these groups doing this there."""
        if self.group != EVERYONE and self.group not in groups:
            return False
        return self.action == action and covers(self.folder, path)

    def weight(self):
        """Rules with a greater weight win: deeper folders first, then denials."""
        return (depth(self.folder), not self.allow)


def parse_rule(line):
    """A rule such as `allow editors write /articles`."""
    words = line.split()
    if len(words) != 4 or words[0] not in ("allow", "deny"):
        raise ValueError(f"expected allow|deny group action folder, got {line!r}")
    effect, group, action, folder = words
    if action not in ACTIONS:
        raise ValueError(f"{action!r} is none of {', '.join(ACTIONS)}")
    return Rule(effect == "allow", group, action, normalise(folder))
E
cat > tests/test_rules.py <<'E'
import unittest

from gatehouse.rules import Rule, parse_rule


class RulesTest(unittest.TestCase):
    def test_a_rule_is_read(self):
        self.assertEqual(parse_rule("deny everyone read /a/"), Rule(False, "everyone", "read", "/a"))

    def test_unknown_actions_are_refused(self):
        with self.assertRaises(ValueError):
            parse_rule("allow editors paint /a")

    def test_a_rule_is_about_a_group(self):
        rule = parse_rule("allow editors write /a")
        self.assertTrue(rule.applies({"editors"}, "write", "/a/b"))
        self.assertFalse(rule.applies({"readers"}, "write", "/a/b"))


if __name__ == "__main__":
    unittest.main()
E
commit "2025-04-08T14:11:00+02:00" "Rules"

# --- 3: policies --------------------------------------------------------------------------------
cat > gatehouse/policy.py <<'E'
"""All rules together, and the answer that they give."""

from gatehouse.paths import normalise
from gatehouse.rules import ACTIONS, parse_rule


class Policy:
    def __init__(self, rules):
        self.rules = list(rules)

    @classmethod
    def parse(cls, text):
        """A policy with a rule on each line; empty lines and those that begin with # are skipped."""
        lines = (line.strip() for line in text.splitlines())
        return cls(parse_rule(line) for line in lines if line and not line.startswith("#"))

    def decisive_rule(self, groups, action, path):
        """The rule that decides; None if no rule applies."""
        path = normalise(path)
        applying = [rule for rule in self.rules if rule.applies(groups, action, path)]
        return max(applying, key=lambda rule: rule.weight(), default=None)

    def may(self, groups, action, path):
        """Whether members of these groups may do this there."""
        rule = self.decisive_rule(groups, action, path)
        return rule is not None and rule.allow

    def actions(self, groups, path):
        """All that they may do there."""
        return [action for action in ACTIONS if self.may(groups, action, path)]
E
cat > tests/test_policy.py <<'E'
import unittest

from gatehouse.policy import Policy

POLICY = Policy.parse("""
# the magazine
allow everyone read /
deny everyone read /articles/drafts
allow editors read /articles/drafts
allow editors write /articles
allow chiefs read /articles/drafts/secret
""")


class PolicyTest(unittest.TestCase):
    def test_what_no_rule_allows_is_forbidden(self):
        self.assertFalse(POLICY.may({"readers"}, "write", "/articles/one"))

    def test_the_deepest_folder_decides(self):
        self.assertTrue(POLICY.may({"readers"}, "read", "/articles/one"))
        self.assertFalse(POLICY.may({"readers"}, "read", "/articles/drafts/two"))
        self.assertTrue(POLICY.may({"chiefs"}, "read", "/articles/drafts/secret/three"))

    def test_of_equals_a_denial_decides(self):
        self.assertFalse(POLICY.may({"editors"}, "read", "/articles/drafts/two"))

    def test_all_that_is_allowed_is_listed(self):
        self.assertEqual(POLICY.actions({"editors"}, "/articles/one"), ["read", "write"])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-04-09T18:52:00+02:00" "A policy decides"

# --- 4: an audit --------------------------------------------------------------------------------
cat > gatehouse/audit.py <<'E'
"""Who may do what, as a table to read through."""


def audit(policy, groups, paths):
    """A line for each path: what a member of each group may do there, by first letters."""
    width = max(len(path) for path in paths)
    lines = []
    for path in paths:
        cells = [_letters(policy.actions({group}, path)) for group in groups]
        lines.append(f"{path:<{width}}  {' '.join(cells)}")
    return "\n".join(lines)


def _letters(actions):
    return "".join(letter if any(a[0] == letter for a in actions) else "-" for letter in "rwd")
E
cat > tests/test_audit.py <<'E'
import unittest

from gatehouse.audit import audit
from gatehouse.policy import Policy


class AuditTest(unittest.TestCase):
    def test_every_group_has_a_column(self):
        policy = Policy.parse("allow everyone read /\nallow staff write /news\n")
        table = audit(policy, ["guests", "staff"], ["/", "/news"])
        self.assertEqual(table, "/      r-- r--\n/news  r-- rw-")


if __name__ == "__main__":
    unittest.main()
E
commit "2025-04-15T10:20:00+02:00" "An audit as a table"

# --- 5: what was noticed, as a test -------------------------------------------------------------
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_audit.py")
text = path.read_text()
text = text.replace(
    "\n\nif __name__",
    "\n"
    "    def test_a_similar_name_gives_no_rights(self):\n"
    "        policy = Policy.parse(\"allow staff read /news\\nallow staff write /news\\n\")\n"
    "        table = audit(policy, [\"staff\"], [\"/news\", \"/news-archive\"])\n"
    "        self.assertEqual(table, \"/news          rw-\\n/news-archive  ---\")\n"
    "\n\nif __name__",
)
path.write_text(text)
E
commit "2025-04-22T13:37:00+02:00" "Test for rights that reach into another folder"

git rev-parse HEAD
