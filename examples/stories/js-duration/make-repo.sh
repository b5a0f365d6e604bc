#!/usr/bin/env bash
# Makes the example repository: a stopwatch whose laps are printed as durations.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: units and reading -----------------------------------------------------------------------
mkdir -p src tests
cat > .gitignore <<'E'
node_modules/
E
cat > package.json <<'E'
{
  "name": "laps",
  "version": "0.1.0",
  "private": true,
  "type": "module",
  "scripts": { "test": "node --test" }
}
E
cat > README.md <<'E'
# laps

A stopwatch: reads and prints durations such as `1h 30m`, keeps laps, compares them with a goal.

    node --test
E
cat > src/units.js <<'E'
// The units that durations are made of, the largest first.

export const UNITS = [
  { letter: "d", seconds: 86400 },
  { letter: "h", seconds: 3600 },
  { letter: "m", seconds: 60 },
  { letter: "s", seconds: 1 },
];

/** How long one such unit is; throws for a letter that stands for none. */
export function secondsOf(letter) {
  const unit = UNITS.find((each) => each.letter === letter);
  if (!unit) {
    throw new Error(`unknown unit: ${letter}`);
  }
  return unit.seconds;
}
E
cat > src/parse.js <<'E'
// Reading durations as people write them: `1h 30m`, `90s`, `2m5s`.

import { secondsOf } from "./units.js";

/** The seconds of a duration; throws if the text isn't one. */
export function parseDuration(text) {
  const compact = text.replaceAll(" ", "");
  if (!/^(\d+(\.\d+)?[a-z])+$/.test(compact)) {
    throw new Error(`not a duration: ${text}`);
  }
  let total = 0;
  for (const [, count, letter] of compact.matchAll(/(\d+(?:\.\d+)?)([a-z])/g)) {
    total += Number(count) * secondsOf(letter);
  }
  return total;
}
E
cat > tests/parse.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { parseDuration } from "../src/parse.js";

test("a duration is the sum of its parts", () => {
  assert.equal(parseDuration("1h 30m"), 5400);
  assert.equal(parseDuration("2m5s"), 125);
});

test("parts may be decimal", () => {
  assert.equal(parseDuration("1.5m"), 90);
});

test("a number without a unit is refused", () => {
  assert.throws(() => parseDuration("90"), /not a duration/);
  assert.throws(() => parseDuration("3w"), /unknown unit/);
});
E
commit "2025-02-08T11:00:00+01:00" "Read durations"

# --- 2: printing --------------------------------------------------------------------------------
cat > src/format.js <<'E'
// Printing durations: `1h 30m`.

import { UNITS } from "./units.js";

/** How often each unit fits, the largest first: `[["h", 1], ["m", 30]]`. */
export function split(seconds) {
  const parts = [];
  let rest = seconds;
  for (const unit of UNITS) {
    const count = Math.floor(rest / unit.seconds);
    rest -= count * unit.seconds;
    if (count > 0) {
      parts.push([unit.letter, count]);
    }
  }
  return parts;
}

/** The duration as text; `0s` when nothing is left of it. */
export function formatDuration(seconds) {
  const parts = split(seconds);
  return parts.length === 0 ? "0s" : parts.map(([letter, count]) => `${count}${letter}`).join(" ");
}
E
cat > tests/format.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { formatDuration } from "../src/format.js";

test("units that don't occur are left out", () => {
  assert.equal(formatDuration(3605), "1h 5s");
  assert.equal(formatDuration(90000), "1d 1h");
});

test("nothing is zero seconds", () => {
  assert.equal(formatDuration(0), "0s");
});
E
commit "2025-02-08T15:36:00+01:00" "Print durations"

# --- 3: the stopwatch ---------------------------------------------------------------------------
cat > src/stopwatch.js <<'E'
// Laps, measured in milliseconds of whatever clock is given.

/** Counts laps from its start; the caller says what time it is. */
export class Stopwatch {
  #last;
  #laps = [];

  constructor(startedAt) {
    this.#last = startedAt;
  }

  /** Ends a lap and begins the next; throws if the clock went back. */
  lap(now) {
    if (now < this.#last) {
      throw new RangeError("the clock went back");
    }
    this.#laps.push((now - this.#last) / 1000);
    this.#last = now;
  }

  /** The laps in seconds. */
  laps() {
    return [...this.#laps];
  }

  /** The seconds of the shortest lap; none before the first. */
  best() {
    return this.#laps.length === 0 ? undefined : Math.min(...this.#laps);
  }
}
E
cat > src/report.js <<'E'
// Laps as text, one a line.

import { formatDuration } from "./format.js";
import { parseDuration } from "./parse.js";

/** The laps of a stopwatch; those within the goal, such as `1m 30s`, are marked. */
export function report(watch, goal) {
  const limit = goal === undefined ? 0 : parseDuration(goal);
  return watch.laps().map((seconds, at) => {
    const mark = seconds <= limit ? " *" : "";
    return `${at + 1}: ${formatDuration(seconds)}${mark}`;
  });
}
E
cat > tests/report.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { report } from "../src/report.js";
import { Stopwatch } from "../src/stopwatch.js";

function watchWith(...seconds) {
  let now = 5000;
  const watch = new Stopwatch(now);
  for (const lap of seconds) {
    now += lap * 1000;
    watch.lap(now);
  }
  return watch;
}

test("laps are numbered and those within the goal are marked", () => {
  assert.deepEqual(report(watchWith(62, 59, 70), "1m 2s"), ["1: 1m 2s *", "2: 59s *", "3: 1m 10s"]);
});

test("the shortest lap is the best", () => {
  assert.equal(watchWith(62, 59, 70).best(), 59);
});
E
commit "2025-02-12T21:15:00+01:00" "A stopwatch and its report"

# --- 4: whole seconds ---------------------------------------------------------------------------
sed -i 's|^    const count = Math.floor(rest / unit.seconds);$|    const count = unit.seconds === 1 ? Math.round(rest) : Math.floor(rest / unit.seconds);|' src/format.js
cat >> tests/report.test.js <<'E'

test("laps are rounded to whole seconds", () => {
  assert.deepEqual(report(watchWith(61.7, 58.2)), ["1: 1m 2s", "2: 58s"]);
});
E
commit "2025-02-20T08:02:00+01:00" "Round laps to whole seconds"

# --- 5: the report of a runner, as a test -------------------------------------------------------
cat >> tests/report.test.js <<'E'

test("a lap of almost a minute is shown as a minute", () => {
  assert.deepEqual(report(watchWith(59.7, 61)), ["1: 1m", "2: 1m 1s"]);
});
E
commit "2025-03-02T17:48:00+01:00" "Test for the lap of sixty seconds"

git rev-parse HEAD
