#!/usr/bin/env bash
# Makes the example repository: tickets of a town's car parks.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: times -----------------------------------------------------------------------------------
mkdir -p src tests
cat > .gitignore <<'E'
node_modules/
E
cat > package.json <<'E'
{
  "name": "car-parks",
  "version": "0.1.0",
  "private": true,
  "type": "module",
  "scripts": { "test": "node --test" }
}
E
cat > README.md <<'E'
# car-parks

What parking costs in the three zones of the town, and the ticket that says so.

    node --test
E
cat > src/clock.js <<'E'
// Times of day, `9:05`.

/** Minutes since midnight; throws if the text isn't a time. */
export function minuteOf(time) {
  const match = /^(\d{1,2}):(\d\d)$/.exec(time);
  if (!match || Number(match[1]) > 24 || Number(match[2]) > 59) {
    throw new Error(`not a time: ${time}`);
  }
  return Number(match[1]) * 60 + Number(match[2]);
}

/** The minutes between two times of one day. */
export function minutesBetween(from, to) {
  const minutes = minuteOf(to) - minuteOf(from);
  if (minutes < 0) {
    throw new RangeError(`${to} is before ${from}`);
  }
  return minutes;
}
E
cat > tests/clock.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { minutesBetween } from "../src/clock.js";

test("times have minutes between them", () => {
  assert.equal(minutesBetween("9:05", "10:20"), 75);
});

test("time does not go back", () => {
  assert.throws(() => minutesBetween("10:00", "9:59"), RangeError);
  assert.throws(() => minutesBetween("9:60", "10:00"), /not a time/);
});
E
commit "2025-09-01T09:00:00+02:00" "Times of day"

# --- 2: the first zones -------------------------------------------------------------------------
cat > src/zones.js <<'E'
// The zones of the town.

export const ZONES = ["centre", "harbour"];
E
cat > src/fees.js <<'E'
// What parking costs, in cents.

function centreFee(minutes) {
  const fee = Math.ceil(minutes / 30) * 120;
  return fee > 1500 ? 1500 : fee;
}

function harbourFee(minutes) {
  const hours = Math.ceil(minutes / 60);
  return Math.min(hours * 100, 600);
}

/** The fee for so many minutes in a zone. */
export function fee(zone, minutes) {
  if (zone === "centre") {
    return centreFee(minutes);
  }
  if (zone === "harbour") {
    return harbourFee(minutes);
  }
  throw new Error(`unknown zone: ${zone}`);
}
E
cat > tests/fees.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { fee } from "../src/fees.js";
import { ZONES } from "../src/zones.js";

test("the centre is paid by the half hour", () => {
  assert.deepEqual([1, 30, 31, 90].map((minutes) => fee("centre", minutes)), [120, 120, 240, 360]);
});

test("the harbour is paid by the hour", () => {
  assert.deepEqual([1, 60, 61].map((minutes) => fee("harbour", minutes)), [100, 100, 200]);
});

test("a day has a highest fee", () => {
  assert.equal(fee("centre", 1440), 1500);
  assert.equal(fee("harbour", 1440), 600);
});

test("no time costs nothing", () => {
  assert.deepEqual(ZONES.map((zone) => fee(zone, 0)), ZONES.map(() => 0));
});

test("other zones are refused", () => {
  assert.throws(() => fee("moon", 10), /unknown zone: moon/);
});
E
commit "2025-09-02T16:22:00+02:00" "Fees of the centre and the harbour"

# --- 3: tickets ---------------------------------------------------------------------------------
cat > src/ticket.js <<'E'
// The ticket that a driver gets.

import { minutesBetween } from "./clock.js";
import { fee } from "./fees.js";

function euros(cents) {
  return `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, "0")}`;
}

/** One line for one car. */
export function ticket(zone, from, to) {
  const cents = fee(zone, minutesBetween(from, to));
  return `${zone} ${from}-${to}: ${cents === 0 ? "free" : euros(cents)}`;
}
E
cat > tests/ticket.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { ticket } from "../src/ticket.js";

test("a ticket says where, when and how much", () => {
  assert.equal(ticket("centre", "9:05", "10:20"), "centre 9:05-10:20: 3.60");
});

test("nobody pays for no time", () => {
  assert.equal(ticket("harbour", "9:00", "9:00"), "harbour 9:00-9:00: free");
});
E
commit "2025-09-04T18:35:00+02:00" "Tickets"

# --- 4: a third zone ----------------------------------------------------------------------------
sed -i 's/"harbour"\]/"harbour", "station"]/' src/zones.js
python3 - <<'E'
import pathlib

path = pathlib.Path("src/fees.js")
text = path.read_text()
text = text.replace(
    "/** The fee for so many minutes in a zone. */",
    "function stationFee(minutes) {\n"
    "  if (minutes <= 20) {\n"
    "    return 0;\n"
    "  }\n"
    "  const fee = Math.ceil((minutes - 20) / 15) * 80;\n"
    "  return fee > 2000 ? 2000 : fee;\n"
    "}\n"
    "\n"
    "/** The fee for so many minutes in a zone. */",
)
text = text.replace(
    "  throw new Error(`unknown",
    "  if (zone === \"station\") {\n    return stationFee(minutes);\n  }\n  throw new Error(`unknown",
)
path.write_text(text)
E
cat >> tests/fees.test.js <<'E'

test("fetching someone at the station is free", () => {
  assert.deepEqual([20, 21, 35, 36, 1440].map((minutes) => fee("station", minutes)), [0, 80, 80, 160, 2000]);
});
E
commit "2025-09-15T11:48:00+02:00" "The station is a zone, too"

# --- 5: what is wanted, as tests ----------------------------------------------------------------
cat > tests/tariffs.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { fee } from "../src/fees.js";
import { ticket } from "../src/ticket.js";
import * as zones from "../src/zones.js";

test("every zone is a row of figures", () => {
  assert.deepEqual(zones.TARIFFS, {
    centre: { freeMinutes: 0, stepMinutes: 30, centsPerStep: 120, maxCents: 1500 },
    harbour: { freeMinutes: 0, stepMinutes: 60, centsPerStep: 100, maxCents: 600 },
    station: { freeMinutes: 20, stepMinutes: 15, centsPerStep: 80, maxCents: 2000 },
  });
});

test("fees and tickets take other tariffs", () => {
  const fair = { meadow: { freeMinutes: 0, stepMinutes: 60, centsPerStep: 250, maxCents: 500 } };
  assert.equal(fee("meadow", 61, fair), 500);
  assert.equal(ticket("meadow", "9:00", "10:00", fair), "meadow 9:00-10:00: 2.50");
});
E
commit "2025-09-26T15:16:00+02:00" "Tests for tariffs as data"

git rev-parse HEAD
