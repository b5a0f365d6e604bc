import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { fee } from "../src/fees.js";
import { ticket } from "../src/ticket.js";
import { TARIFFS, ZONES } from "../src/zones.js";

const BEFORE = {
  centre: (minutes) => Math.min(Math.ceil(minutes / 30) * 120, 1500),
  harbour: (minutes) => Math.min(Math.ceil(minutes / 60) * 100, 600),
  station: (minutes) => Math.min(Math.ceil(Math.max(minutes - 20, 0) / 15) * 80, 2000),
};

test("no fee of the three zones has changed", () => {
  for (const [zone, before] of Object.entries(BEFORE)) {
    for (let minutes = 0; minutes <= 1440; minutes += 1) {
      assert.equal(fee(zone, minutes), before(minutes), `${zone} ${minutes}`);
      assert.equal(fee(zone, minutes, TARIFFS), before(minutes), `${zone} ${minutes}`);
    }
  }
});

test("all figures of another table count", () => {
  const table = { hill: { freeMinutes: 10, stepMinutes: 20, centsPerStep: 70, maxCents: 200 } };
  const fees = [0, 10, 11, 30, 31, 50, 51, 600].map((minutes) => fee("hill", minutes, table));
  assert.deepEqual(fees, [0, 0, 70, 70, 140, 140, 200, 200]);
});

test("another table may have other figures for a zone of that name", () => {
  const table = { centre: { freeMinutes: 0, stepMinutes: 10, centsPerStep: 5, maxCents: 1000 } };
  assert.equal(fee("centre", 100, table), 50);
  assert.equal(ticket("centre", "8:00", "8:11", table), "centre 8:00-8:11: 0.10");
});

test("zones that are not in the table are refused", () => {
  const table = { hill: { freeMinutes: 10, stepMinutes: 20, centsPerStep: 70, maxCents: 200 } };
  assert.throws(() => fee("centre", 30, table), /unknown zone: centre/);
  assert.throws(() => ticket("hill", "8:00", "9:00"), /unknown zone: hill/);
});

test("the zones are those of the table", () => {
  assert.deepEqual(ZONES, Object.keys(TARIFFS));
});

test("the fees name no zone", () => {
  const source = readFileSync(new URL("../src/fees.js", import.meta.url), "utf8");
  for (const zone of ["centre", "harbour", "station"]) {
    assert.ok(!source.includes(zone), zone);
  }
});
