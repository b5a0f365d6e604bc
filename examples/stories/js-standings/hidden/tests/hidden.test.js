import assert from "node:assert/strict";
import { test } from "node:test";

import { printTable } from "../src/print.js";
import { ranked } from "../src/ranking.js";

function ranksOf(...points) {
  const rows = points.map((each, at) => ({ team: `Team ${at}`, played: 1, points: each, scored: 0, conceded: 0 }));
  return ranked(rows).map((row) => row.rank);
}

test("two pairs take the first and the third place", () => {
  assert.deepEqual(ranksOf(6, 6, 3, 3), [1, 1, 3, 3]);
});

test("three that share the first place leave two free", () => {
  assert.deepEqual(ranksOf(9, 9, 9, 1, 0), [1, 1, 1, 4, 5]);
});

test("places are left free after every shared one", () => {
  assert.deepEqual(ranksOf(9, 7, 7, 5, 5, 5, 2), [1, 2, 2, 4, 4, 4, 7]);
});

test("without level teams every place is taken", () => {
  assert.deepEqual(ranksOf(1, 5, 3, 2), [1, 2, 3, 4]);
  assert.deepEqual(ranksOf(), []);
});

test("all that are level are first", () => {
  assert.deepEqual(ranksOf(2, 2, 2, 2), [1, 1, 1, 1]);
});

test("goal difference tells teams apart, also behind a shared place", () => {
  assert.deepEqual(printTable("Owls 1:1 Foxes\nBats 2:0 Elks\nNewts 1:0 Hens").map((line) => line.slice(0, 9)), [
    " 1. Bats ",
    " 2. Newts",
    " 3. Foxes",
    " 3. Owls ",
    " 5. Hens ",
    " 6. Elks ",
  ]);
});
