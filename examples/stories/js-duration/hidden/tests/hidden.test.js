import assert from "node:assert/strict";
import { test } from "node:test";

import { formatDuration } from "../src/format.js";
import { parseDuration } from "../src/parse.js";

test("a minute that is almost full carries", () => {
  assert.equal(formatDuration(119.6), "2m");
  assert.equal(formatDuration(119.4), "1m 59s");
});

test("an hour that is almost full carries", () => {
  assert.equal(formatDuration(3599.8), "1h");
  assert.equal(formatDuration(7199.6), "2h");
});

test("a day that is almost full carries", () => {
  assert.equal(formatDuration(86399.9), "1d");
  assert.equal(formatDuration(86400 + 3599.7), "1d 1h");
});

test("what is rounded down stays in its minute", () => {
  assert.equal(formatDuration(59.4), "59s");
  assert.equal(formatDuration(0.4), "0s");
  assert.equal(formatDuration(0.6), "1s");
});

test("what is printed reads as the rounded duration", () => {
  for (let tenths = 0; tenths < 80000; tenths += 7) {
    if (tenths % 10 === 5) continue; // no whole second is nearest
    const seconds = tenths / 10;
    const text = formatDuration(seconds);
    assert.equal(parseDuration(text), Math.round(seconds), text);
    assert.ok(!/\b60[ms]/.test(text), text);
  }
});
