#!/usr/bin/env bash
# Makes the example repository: how often a web site was visited, out of its log.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: lines of the log ------------------------------------------------------------------------
mkdir -p visits tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# visits

Who visited the site, for how long, and what was read? Reads the server's log, a line for each request:

    2025-06-01T10:00:00 203.0.113.7 /garden/roses 200

A visit is over when its visitor requests nothing for half an hour.

    python3 -m visits access.log
    python3 -m unittest -v
E
cat > visits/__init__.py <<'E'
"""Visits to a web site."""
E
cat > visits/logline.py <<'E'
"""Reading the server's log."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Request:
    time: datetime
    visitor: str
    path: str
    status: int

    def is_page(self):
        """Whether somebody got something to read: no picture, no error, no robot's file."""
        wanted = not self.path.endswith((".png", ".css", ".js", ".ico", "/robots.txt"))
        return wanted and self.status < 400


def parse_request(line):
    """The request on one line; None for a line that isn't one."""
    words = line.split()
    if len(words) != 4 or not words[3].isdigit():
        return None
    try:
        time = datetime.fromisoformat(words[0])
    except ValueError:
        return None
    return Request(time, words[1], words[2], int(words[3]))


def parse_log(text):
    """The requests for pages, in order of time. Lines that make no sense are left out."""
    found = (parse_request(line) for line in text.splitlines())
    return sorted((each for each in found if each and each.is_page()), key=lambda each: each.time)
E
touch tests/__init__.py
cat > tests/test_logline.py <<'E'
import unittest
from datetime import datetime

from visits.logline import Request, parse_log, parse_request


class LogLineTest(unittest.TestCase):
    def test_a_line_is_a_request(self):
        request = parse_request("2025-06-01T10:00:00 203.0.113.7 /roses 200")
        self.assertEqual(request, Request(datetime(2025, 6, 1, 10), "203.0.113.7", "/roses", 200))

    def test_nonsense_is_left_out(self):
        for line in ("", "hello", "yesterday 203.0.113.7 /roses 200", "2025-06-01T10:00:00 x / ok"):
            self.assertIsNone(parse_request(line))

    def test_only_pages_that_were_seen_count(self):
        log = "\n".join([
            "2025-06-01T10:05:00 a /roses 200",
            "2025-06-01T10:00:00 a /logo.png 200",
            "2025-06-01T10:00:00 a /tulips 200",
            "2025-06-01T10:00:00 a /lost 404",
        ])
        self.assertEqual([each.path for each in parse_log(log)], ["/tulips", "/roses"])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-06-01T20:10:00+02:00" "Read the server's log"

# --- 2: visits ----------------------------------------------------------------------------------
cat > visits/grouping.py <<'E'
"""From requests to visits."""

from datetime import timedelta

PAUSE = timedelta(minutes=30)


class Visit:
    """Pages that one visitor requested without a long pause."""

    def __init__(self, request):
        self.visitor = request.visitor
        self.requests = [request]

    @property
    def start(self):
        return self.requests[0].time

    @property
    def length(self):
        """From the first request to the last."""
        return self.requests[-1].time - self.start

    def accepts(self, request):
        """Whether the request still belongs to this visit."""
        return request.time - self.start <= PAUSE


def find_visits(requests):
    """Visits in the order in which they began; the requests are in order of time."""
    visits = []
    current = {}
    for request in requests:
        visit = current.get(request.visitor)
        if visit is not None and visit.accepts(request):
            visit.requests.append(request)
        else:
            visit = Visit(request)
            current[request.visitor] = visit
            visits.append(visit)
    return visits
E
cat > tests/test_grouping.py <<'E'
import unittest

from visits.logline import parse_log
from visits.grouping import find_visits


class GroupingTest(unittest.TestCase):
    def test_visitors_are_told_apart(self):
        requests = parse_log("2025-06-01T10:00:00 a / 200\n2025-06-01T10:01:00 b / 200\n2025-06-01T10:02:00 a /x 200")
        found = find_visits(requests)
        self.assertEqual([(visit.visitor, len(visit.requests)) for visit in found], [("a", 2), ("b", 1)])

    def test_who_comes_back_after_hours_visits_again(self):
        requests = parse_log("2025-06-01T10:00:00 a / 200\n2025-06-01T14:00:00 a / 200")
        self.assertEqual(len(find_visits(requests)), 2)


if __name__ == "__main__":
    unittest.main()
E
commit "2025-06-03T21:33:00+02:00" "Group requests into visits"

# --- 3: a summary -------------------------------------------------------------------------------
cat > visits/summary.py <<'E'
"""Figures about visits."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Summary:
    visits: int
    visitors: int
    pages: int
    average: timedelta
    entries: list


def summarise(visits):
    """Counts, the average length, and the pages where most visits began."""
    total = sum((visit.length for visit in visits), timedelta())
    entries = Counter(visit.requests[0].path for visit in visits)
    return Summary(
        visits=len(visits),
        visitors=len({visit.visitor for visit in visits}),
        pages=sum(len(visit.requests) for visit in visits),
        average=total / len(visits) if visits else timedelta(),
        entries=sorted(entries.items(), key=lambda entry: (-entry[1], entry[0]))[:3],
    )
E
cat > tests/test_summary.py <<'E'
import unittest
from datetime import timedelta

from visits.logline import parse_log
from visits.grouping import find_visits
from visits.summary import summarise


class SummaryTest(unittest.TestCase):
    def test_everything_is_counted(self):
        log = "2025-06-01T10:00:00 a /x 200\n2025-06-01T10:10:00 a /y 200\n2025-06-01T11:00:00 b /x 200"
        summary = summarise(find_visits(parse_log(log)))
        self.assertEqual((summary.visits, summary.visitors, summary.pages), (2, 2, 3))
        self.assertEqual(summary.average, timedelta(minutes=5))
        self.assertEqual(summary.entries, [("/x", 2)])

    def test_nobody_came(self):
        self.assertEqual(summarise([]).average, timedelta())


if __name__ == "__main__":
    unittest.main()
E
commit "2025-06-04T19:57:00+02:00" "Figures about visits"

# --- 4: a report --------------------------------------------------------------------------------
cat > visits/report.py <<'E'
"""The figures as text."""

from visits.logline import parse_log
from visits.grouping import find_visits
from visits.summary import summarise


def plural(count, word):
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def minutes(length):
    """Whole minutes, rounded down."""
    return plural(int(length.total_seconds()) // 60, "minute")


def report(log):
    """What the log says, in a few lines."""
    summary = summarise(find_visits(parse_log(log)))
    lines = [
        f"{plural(summary.visits, 'visit')} by {plural(summary.visitors, 'visitor')}",
        f"{plural(summary.pages, 'page')} read, {minutes(summary.average)} on average",
    ]
    lines += [f"  {count} began at {path}" for path, count in summary.entries]
    return "\n".join(lines)
E
cat > visits/__main__.py <<'E'
"""python3 -m visits FILE"""

import pathlib
import sys

from visits.report import report


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m visits FILE")
    print(report(pathlib.Path(sys.argv[1]).read_text()))


if __name__ == "__main__":
    main()
E
cat > tests/test_report.py <<'E'
import unittest

from visits.report import report


class ReportTest(unittest.TestCase):
    def test_one_is_not_many(self):
        self.assertEqual(report("2025-06-01T10:00:00 a / 200"),
                         "1 visit by 1 visitor\n1 page read, 0 minutes on average\n  1 began at /")


if __name__ == "__main__":
    unittest.main()
E
commit "2025-06-08T11:11:00+02:00" "A report in a few lines"

# --- 5: what was noticed, as a test -------------------------------------------------------------
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_report.py")
text = path.read_text()
text = text.replace(
    "\n\nif __name__",
    "\n"
    "    def test_who_reads_on_stays(self):\n"
    "        log = \"\\n\".join(f\"2025-06-01T10:{minute}:00 a /page{minute} 200\" for minute in (\"00\", \"20\", \"40\"))\n"
    "        self.assertEqual(report(log).splitlines()[0], \"1 visit by 1 visitor\")\n"
    "\n\nif __name__",
)
path.write_text(text)
E
commit "2025-06-15T16:28:00+02:00" "Test for a long visit that is counted twice"

git rev-parse HEAD
