#!/usr/bin/env bash
# Makes the example repository: the table of a tournament, computed from results.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: results ---------------------------------------------------------------------------------
mkdir -p src tests
cat > .gitignore <<'E'
node_modules/
E
cat > package.json <<'E'
{
  "name": "standings",
  "version": "0.1.0",
  "private": true,
  "type": "module",
  "scripts": { "test": "node --test" }
}
E
cat > README.md <<'E'
# standings

The table of a tournament. Results come one a line: `Owls 2:1 Foxes`. A win is three points, a draw
one. Points decide, then goal difference, then goals.

    node --test
E
cat > src/results.js <<'E'
// Results as people write them down: `Owls 2:1 Foxes`.

/** One result: `{ home, away, goals: [home, away] }`. */
export function parseResult(line) {
  const match = /^(.+?)\s+(\d+):(\d+)\s+(.+)$/.exec(line.trim());
  if (!match) {
    throw new Error(`not a result: ${line}`);
  }
  const [, home, forHome, forAway, away] = match;
  return { home, away, goals: [Number(forHome), Number(forAway)] };
}

/** All results of a text; empty lines are skipped. */
export function parseResults(text) {
  return text.split("\n").filter((line) => line.trim() !== "").map(parseResult);
}
E
cat > tests/results.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { parseResult, parseResults } from "../src/results.js";

test("a result has two teams and their goals", () => {
  assert.deepEqual(parseResult("Red Owls 2:10 Foxes"), { home: "Red Owls", away: "Foxes", goals: [2, 10] });
});

test("empty lines are skipped", () => {
  assert.equal(parseResults("\nOwls 1:0 Foxes\n\n").length, 1);
});

test("half a result is refused", () => {
  assert.throws(() => parseResult("Owls 2:1"), /not a result/);
});
E
commit "2025-04-05T16:00:00+02:00" "Read results"

# --- 2: the table -------------------------------------------------------------------------------
cat > src/table.js <<'E'
// What the teams have collected.

const WIN = 3;
const DRAW = 1;

function emptyRow(team) {
  return { team, played: 0, points: 0, scored: 0, conceded: 0 };
}

function record(row, scored, conceded) {
  row.played += 1;
  row.scored += scored;
  row.conceded += conceded;
  if (scored > conceded) {
    row.points += WIN;
  } else if (scored === conceded) {
    row.points += DRAW;
  }
}

/** One row a team, in no particular order. */
export function tally(results) {
  const rows = new Map();
  const rowOf = (team) => {
    if (!rows.has(team)) {
      rows.set(team, emptyRow(team));
    }
    return rows.get(team);
  };
  for (const { home, away, goals } of results) {
    record(rowOf(home), goals[0], goals[1]);
    record(rowOf(away), goals[1], goals[0]);
  }
  return [...rows.values()];
}

/** Goals scored less goals conceded. */
export function difference(row) {
  return row.scored - row.conceded;
}
E
cat > tests/table.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { parseResults } from "../src/results.js";
import { difference, tally } from "../src/table.js";

test("a win is three points and a draw one", () => {
  const rows = tally(parseResults("Owls 2:1 Foxes\nFoxes 0:0 Owls"));
  assert.deepEqual(rows.map((row) => [row.team, row.points]), [["Owls", 4], ["Foxes", 1]]);
  assert.deepEqual(rows.map(difference), [1, -1]);
});
E
commit "2025-04-05T18:45:00+02:00" "Count points and goals"

# --- 3: the order -------------------------------------------------------------------------------
cat > src/ranking.js <<'E'
// Who stands above whom.

import { difference } from "./table.js";

/** Negative if `a` stands above `b`, 0 if they are level. */
export function compareRows(a, b) {
  return b.points - a.points || difference(b) - difference(a) || b.scored - a.scored;
}

/** The rows in order, each with its `rank`. Teams that are level share one and are listed by name. */
export function ranked(rows) {
  const sorted = [...rows].sort((a, b) => compareRows(a, b) || a.team.localeCompare(b.team));
  let rank = 0;
  return sorted.map((row, at) => {
    if (at === 0 || compareRows(sorted[at - 1], row) !== 0) {
      rank += 1;
    }
    return { ...row, rank };
  });
}
E
cat > tests/ranking.test.js <<'E'
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseResults } from "../src/results.js";
import { ranked } from "../src/ranking.js";
import { tally } from "../src/table.js";

function order(text) {
  return ranked(tally(parseResults(text))).map((row) => row.team);
}

describe("the order", () => {
  it("goes by points first", () => {
    assert.deepEqual(order("Foxes 0:9 Owls\nFoxes 1:0 Bats\nBats 0:1 Foxes"), ["Foxes", "Owls", "Bats"]);
  });

  it("goes by goal difference among equal points", () => {
    assert.deepEqual(order("Owls 1:0 Bats\nFoxes 3:0 Elks"), ["Foxes", "Owls", "Bats", "Elks"]);
  });

  it("goes by goals scored after that", () => {
    assert.deepEqual(order("Owls 1:0 Bats\nFoxes 3:2 Elks"), ["Foxes", "Owls", "Elks", "Bats"]);
  });
});
E
commit "2025-04-06T10:20:00+02:00" "Order the teams"

# --- 4: printing --------------------------------------------------------------------------------
cat > src/print.js <<'E'
// The table as text.

import { parseResults } from "./results.js";
import { ranked } from "./ranking.js";
import { difference, tally } from "./table.js";

function signed(number) {
  return number > 0 ? `+${number}` : String(number);
}

function printRow(row) {
  const place = `${row.rank}.`.padStart(3);
  return `${place} ${row.team.padEnd(12)}${String(row.points).padStart(3)} ${signed(difference(row)).padStart(4)}`;
}

/** The table after all results of a text, one line a team. */
export function printTable(text) {
  return ranked(tally(parseResults(text))).map(printRow);
}
E
cat > tests/print.test.js <<'E'
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { printTable } from "../src/print.js";

describe("the printed table", () => {
  it("shows place, team, points and difference", () => {
    assert.deepEqual(printTable("Owls 2:0 Foxes\nFoxes 1:1 Bats\nOwls 0:1 Bats"), [
      " 1. Bats          4   +1",
      " 2. Owls          3   +1",
      " 3. Foxes         1   -2",
    ]);
  });

  it("lists teams that are level by name, with the same place", () => {
    assert.deepEqual(printTable("Owls 1:1 Foxes"), [
      " 1. Foxes         1    0",
      " 1. Owls          1    0",
    ]);
  });
});
E
commit "2025-04-06T12:05:00+02:00" "Print the table"

# --- 5: the report of a referee, as a test ------------------------------------------------------
cat > tests/places.test.js <<'E'
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { printTable } from "../src/print.js";

describe("places", () => {
  it("are left free after a place that is shared", () => {
    const table = printTable("Owls 2:0 Newts\nFoxes 1:1 Bats\nOwls 1:0 Newts");
    assert.deepEqual(table, [
      " 1. Owls          6   +3",
      " 2. Bats          1    0",
      " 2. Foxes         1    0",
      " 4. Newts         0   -3",
    ]);
  });
});
E
commit "2025-04-13T19:55:00+02:00" "Test for the fourth team that is called third"

git rev-parse HEAD
