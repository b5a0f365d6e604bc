import assert from "node:assert/strict";
import { test } from "node:test";

import { evaluate } from "../src/evaluate.js";
import { parse } from "../src/parser.js";
import { work } from "../src/sheet.js";

function value(formula) {
  return evaluate(parse(formula), new Map([["x", 3]]));
}

test("several powers work from the right", () => {
  assert.equal(value("2 ^ 3 ^ 2"), 512);
  assert.equal(value("(2 ^ 3) ^ 2"), 64);
});

test("a power comes before a product, on both of its sides", () => {
  assert.equal(value("2 ^ 3 * 4"), 32);
  assert.equal(value("36 / x ^ 2"), 4);
  assert.equal(value("1 + x ^ 2 - 1"), 9);
});

test("a minus in front applies to the whole power", () => {
  assert.equal(value("-2 ^ 2"), -4);
  assert.equal(value("(-2) ^ 2"), 4);
  assert.equal(value("1 - -x ^ 2"), 10);
});

test("an exponent may have a minus", () => {
  assert.equal(value("2 ^ -1"), 0.5);
  assert.equal(value("2 ^ -1 ^ 2"), 0.5);
  assert.equal(value("4 * 2 ^ -2"), 1);
});

test("exponents may be anything", () => {
  assert.equal(value("9 ^ 0.5"), 3);
  assert.equal(value("x ^ x"), 27);
  assert.equal(value("5 ^ 0"), 1);
});

test("half a power is refused", () => {
  assert.throws(() => parse("2 ^"), /ends too early/);
  assert.throws(() => parse("^ 2"), /unexpected \^/);
});

test("everything else is as before", () => {
  assert.deepEqual(work("a = 10 - 3 - 2\na * -2\n2 ? 3\n24 / 4 / 2"), ["5", "-10", "? unexpected ?", "3"]);
});
