#!/usr/bin/env bash
# Makes the example repository: a hall whose free seats are offered to parties.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: the hall --------------------------------------------------------------------------------
mkdir -p src tests
cat > .gitignore <<'E'
node_modules/
E
cat > package.json <<'E'
{
  "name": "stalls",
  "version": "0.1.0",
  "private": true,
  "type": "module",
  "scripts": { "test": "node --test" }
}
E
cat > README.md <<'E'
# stalls

Finds seats for a party in a theatre. A hall is drawn row by row, the front first: `.` is a free
seat, `x` a taken one, `_` the aisle.

    A: ..xx_....
    B: ...._x...

    node --test
E
cat > src/hall.js <<'E'
// The drawing of a hall.

/** The rows of a drawing, the front first: `{ name, cells }`. */
export function parseHall(text) {
  const lines = text.split("\n").map((line) => line.trim());
  return lines.filter((line) => line !== "").map(parseRow);
}

function parseRow(line) {
  const match = /^([A-Z]+):\s*([.x_]+)$/.exec(line);
  if (!match) {
    throw new Error(`not a row: ${line}`);
  }
  return { name: match[1], cells: [...match[2]] };
}

/** How many seats of the hall are free. */
export function countFree(hall) {
  return hall.flatMap((row) => row.cells).filter((cell) => cell === ".").length;
}
E
cat > tests/hall.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { countFree, parseHall } from "../src/hall.js";

test("a hall is drawn row by row", () => {
  const hall = parseHall("A: ..x\n\nB: ._.");
  assert.deepEqual(hall.map((row) => row.name), ["A", "B"]);
  assert.equal(countFree(hall), 4);
});

test("a row without a name is refused", () => {
  assert.throws(() => parseHall("..x"), /not a row/);
});
E
commit "2025-03-04T18:30:00+01:00" "Read the drawing of a hall"

# --- 2: free seats ------------------------------------------------------------------------------
cat > src/seats.js <<'E'
// Free seats of a row. Seats are numbered from 1; the aisle has no number.

/** The free seats that lie side by side, as lists of numbers. */
export function freeBlocks(row) {
  const blocks = [];
  let block = [];
  let number = 0;
  for (const cell of row.cells) {
    if (cell === "_") {
      continue;
    }
    number += 1;
    if (cell === ".") {
      block.push(number);
    } else if (block.length > 0) {
      blocks.push(block);
      block = [];
    }
  }
  if (block.length > 0) {
    blocks.push(block);
  }
  return blocks;
}
E
cat > tests/seats.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { parseHall } from "../src/hall.js";
import { freeBlocks } from "../src/seats.js";

function blocksOf(drawing) {
  return freeBlocks(parseHall(`A: ${drawing}`)[0]);
}

test("a taken seat lies between two blocks", () => {
  assert.deepEqual(blocksOf("..x.x..."), [[1, 2], [4], [6, 7, 8]]);
});

test("the aisle has no number", () => {
  assert.deepEqual(blocksOf("xx_..x"), [[3, 4]]);
});

test("a full row has no block", () => {
  assert.deepEqual(blocksOf("xx_xx"), []);
});
E
commit "2025-03-06T19:12:00+01:00" "Find the free seats of a row"

# --- 3: offers ----------------------------------------------------------------------------------
cat > src/offer.js <<'E'
// Which seats a party is offered.

import { freeBlocks } from "./seats.js";

/**
 * Seats side by side for a party, in the first row that has them: `{ row, seats }`, or `undefined`.
 * Of the blocks of a row the smallest that is large enough is broken up, so that large ones last.
 */
export function findSeats(hall, party) {
  for (const row of hall) {
    const fitting = freeBlocks(row).filter((block) => block.length >= party);
    fitting.sort((a, b) => a.length - b.length);
    if (fitting.length > 0) {
      return { row: row.name, seats: fitting[0].slice(0, party) };
    }
  }
  return undefined;
}

/** The offer as a sentence. */
export function offer(hall, party) {
  const found = findSeats(hall, party);
  if (!found) {
    return `no ${party} seats side by side`;
  }
  return found.seats.map((number) => `${found.row}${number}`).join(" ");
}
E
cat > tests/offer.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { parseHall } from "../src/hall.js";
import { offer } from "../src/offer.js";

test("the front row comes first", () => {
  assert.equal(offer(parseHall("A: x..\nB: ..."), 2), "A2 A3");
});

test("the smallest block that is large enough is taken", () => {
  assert.equal(offer(parseHall("A: ....x.."), 2), "A6 A7");
});

test("a party that is too large is told so", () => {
  assert.equal(offer(parseHall("A: ..x..\nB: ..x"), 3), "no 3 seats side by side");
});
E
commit "2025-03-11T20:40:00+01:00" "Offer seats to a party"

# --- 4: taking them -----------------------------------------------------------------------------
cat > src/reserve.js <<'E'
// Taking seats.

import { findSeats } from "./offer.js";

function take(row, numbers) {
  let number = 0;
  const cells = row.cells.map((cell) => {
    number += cell === "_" ? 0 : 1;
    return cell !== "_" && numbers.includes(number) ? "x" : cell;
  });
  return { ...row, cells };
}

/** The hall after a party took its seats; the same hall if there are none for it. */
export function reserve(hall, party) {
  const found = findSeats(hall, party);
  if (!found) {
    return hall;
  }
  return hall.map((row) => (row.name === found.row ? take(row, found.seats) : row));
}

/** The drawing of a hall. */
export function drawHall(hall) {
  return hall.map((row) => `${row.name}: ${row.cells.join("")}`).join("\n");
}
E
cat > tests/reserve.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { parseHall } from "../src/hall.js";
import { drawHall, reserve } from "../src/reserve.js";

test("reserved seats are taken", () => {
  const hall = parseHall("A: x...\nB: ....");
  assert.equal(drawHall(reserve(hall, 2)), "A: xxx.\nB: ....");
});

test("without seats for the party nothing changes", () => {
  const hall = parseHall("A: .x.");
  assert.equal(reserve(hall, 2), hall);
});
E
commit "2025-03-15T09:26:00+01:00" "Reserve seats"

# --- 5: the complaint of a party, as a test -----------------------------------------------------
cat >> tests/reserve.test.js <<'E'

test("a party of three does not sit across the aisle", () => {
  const hall = parseHall("A: xx.._..xx\nB: x..x_...x");
  assert.equal(drawHall(reserve(hall, 3)), "A: xx.._..xx\nB: x..x_xxxx");
});
E
commit "2025-03-28T22:10:00+01:00" "Test for the party that the aisle tore apart"

git rev-parse HEAD
