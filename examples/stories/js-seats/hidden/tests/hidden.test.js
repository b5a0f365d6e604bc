import assert from "node:assert/strict";
import { test } from "node:test";

import { parseHall } from "../src/hall.js";
import { offer } from "../src/offer.js";
import { drawHall, reserve } from "../src/reserve.js";
import { freeBlocks } from "../src/seats.js";

function blocksOf(drawing) {
  return freeBlocks(parseHall(`A: ${drawing}`)[0]);
}

test("both sides of the aisle can be offered", () => {
  assert.deepEqual(blocksOf("xx.._..xx"), [[3, 4], [5, 6]]);
  assert.equal(offer(parseHall("A: xx.._x.xx"), 2), "A3 A4");
});

test("the larger side is found wherever it lies", () => {
  assert.equal(offer(parseHall("A: .._...."), 3), "A3 A4 A5");
  assert.equal(offer(parseHall("A: ...._.."), 3), "A1 A2 A3");
});

test("a row may have several aisles", () => {
  assert.deepEqual(blocksOf(".._..._x."), [[1, 2], [3, 4, 5], [7]]);
  assert.equal(offer(parseHall("A: .._..._.."), 4), "no 4 seats side by side");
});

test("an aisle at the edge or two side by side make no empty block", () => {
  assert.deepEqual(blocksOf("_..__.._"), [[1, 2], [3, 4]]);
});

test("a hall is filled to the last seat", () => {
  let hall = parseHall("A: .._..");
  hall = reserve(reserve(hall, 2), 2);
  assert.equal(drawHall(hall), "A: xx_xx");
});
