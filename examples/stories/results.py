"""The names of the tests that failed, out of what a test runner printed.

The names are those that Fleet's own readers make (`tools/src/results/`), but for one thing: tests of
Rust's `tests/` folders go without the name of their file.
"""

import re

# A run that broke before any test could fail.
RUN = "(run)"


def failed_names(results, text, status):
    """The failed tests of one run, sorted; `results` is the story's key of that name."""
    names = sorted(set(READERS[results](text)))
    return names or ([] if status == 0 else [RUN])


def unittest(text):
    """`FAIL: test_x (pkg.Case.test_x)`, from Python 3.11, and `FAIL: test_x (pkg.Case)`, before."""
    for method, place in re.findall(r"^(?:FAIL|ERROR): (\S+) \(([^)]*)\)", text, re.MULTILINE):
        yield place if place.rsplit(".", 1)[-1] == method else f"{place}.{method}"


def libtest(text):
    return re.findall(r"^test (\S+)(?: - should panic)? \.\.\. FAILED$", text, re.MULTILINE)


def node(text):
    """Node writes TAP to a pipe up to version 22, and its `spec` style from 23 on."""
    return tap(text) if "TAP version" in text else spec(text)


def tap(text):
    """A result comes after those that lie inside it: what has some inside is a suite, and names them."""
    waiting, within = [], None  # of [depth, path, failed]; the indentation of the details that are being read
    for line in text.splitlines():
        trimmed = line.lstrip()
        indentation = len(line) - len(trimmed)
        if within is not None:
            # The differences of long values have such lines, too.
            if trimmed == "..." and indentation == within:
                within = None
        elif found := re.match(r"(not ok|ok) \d+ - (.*)", trimmed):
            verdict, (name, _, remark) = found[1], found[2].partition(" # ")
            name, depth = name.replace("\\#", "#"), (len(line) - len(trimmed)) // 4
            inside = [test for test in waiting if test[0] > depth]
            for test in inside:
                test[0], test[1] = depth, [name, *test[1]]
            if not inside:
                failed = verdict == "not ok" and not remark.startswith(("SKIP", "TODO"))
                waiting.append([depth, [name], failed])
        elif trimmed == "---":
            within = indentation
    return [" > ".join(path) for _, path, failed in waiting if failed]


def spec(text):
    """Suites begin with a line of their own, and end with one that looks like a test's."""
    names, path = [], []
    for line in text.split("\n✖ failing tests:")[0].splitlines():
        trimmed = line.lstrip()
        depth = (len(line) - len(trimmed)) // 2
        if trimmed.startswith("▶ "):
            path[depth:] = [untimed(trimmed[2:])]
        elif trimmed.startswith(("✔ ", "✖ ", "﹣ ")):
            left_out = re.search(r"ms\) # ", trimmed)
            name = untimed(trimmed[2:left_out.start() + 3] if left_out else trimmed[2:])
            ends_suite = path[depth:depth + 1] == [name]
            del path[depth:]
            if trimmed.startswith("✖ ") and not left_out and not ends_suite:
                names.append(" > ".join([*path, name]))
    return names


def untimed(text):
    """Without the time that it took."""
    return re.sub(r" \([^()]*ms\)$", "", text.rstrip())


READERS = {"unittest": unittest, "libtest": libtest, "node": node}
