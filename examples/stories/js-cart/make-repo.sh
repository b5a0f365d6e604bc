#!/usr/bin/env bash
# Makes the example repository: a shopping cart with a discount and a receipt.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: money -----------------------------------------------------------------------------------
mkdir -p src tests
cat > .gitignore <<'E'
node_modules/
E
cat > package.json <<'E'
{
  "name": "basket",
  "version": "0.1.0",
  "private": true,
  "type": "module",
  "scripts": { "test": "node --test" }
}
E
cat > README.md <<'E'
# basket

The shopping cart of a small shop: products, a discount for large orders, a receipt. Amounts are
whole cents.

    node --test
E
cat > src/money.js <<'E'
// Amounts of money: whole cents inside, "12.50" outside.

/** The amount as text. */
export function formatCents(cents) {
  const sign = cents < 0 ? "-" : "";
  const whole = Math.floor(Math.abs(cents) / 100);
  const rest = String(Math.abs(cents) % 100).padStart(2, "0");
  return `${sign}${whole}.${rest}`;
}

/** The cents of a text such as "12.50" or "3"; throws if it is neither. */
export function parseCents(text) {
  const match = /^(\d+)(?:\.(\d\d))?$/.exec(text.trim());
  if (!match) {
    throw new Error(`not an amount: ${text}`);
  }
  return Number(match[1]) * 100 + Number(match[2] ?? 0);
}
E
cat > tests/money.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { formatCents, parseCents } from "../src/money.js";

test("cents always have two digits", () => {
  assert.equal(formatCents(1205), "12.05");
  assert.equal(formatCents(-50), "-0.50");
});

test("an amount may come without cents", () => {
  assert.equal(parseCents("3"), 300);
  assert.equal(parseCents("12.50"), 1250);
  assert.throws(() => parseCents("12.5"));
});
E
commit "2025-01-14T19:20:00+01:00" "Amounts in cents"

# --- 2: the cart --------------------------------------------------------------------------------
cat > src/cart.js <<'E'
// What a customer has chosen so far.

/** Lines of products in the order in which they were first chosen. */
export class Cart {
  #lines = [];

  /** Puts `count` pieces of a product, `{ name, cents }`, into the cart. */
  add(product, count = 1) {
    if (!Number.isInteger(count) || count < 1) {
      throw new RangeError("a cart takes whole pieces");
    }
    const line = this.#lines.find((each) => each.product.name === product.name);
    if (line) {
      line.count = count;
    } else {
      this.#lines.push({ product, count });
    }
  }

  /** Takes a product out, however many pieces of it there are. */
  remove(name) {
    this.#lines = this.#lines.filter((line) => line.product.name !== name);
  }

  /** The lines: `{ product, count, cents }`. */
  lines() {
    return this.#lines.map(({ product, count }) => ({ product, count, cents: product.cents * count }));
  }

  /** What the goods cost, before any discount. */
  subtotal() {
    return this.lines().reduce((sum, line) => sum + line.cents, 0);
  }
}
E
cat > tests/cart.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { Cart } from "../src/cart.js";

const MUG = { name: "Mug", cents: 850 };
const TEA = { name: "Tea", cents: 420 };

test("lines keep their order", () => {
  const cart = new Cart();
  cart.add(TEA);
  cart.add(MUG, 3);
  assert.deepEqual(cart.lines().map((line) => line.product.name), ["Tea", "Mug"]);
  assert.equal(cart.subtotal(), 420 + 3 * 850);
});

test("a removed product is gone", () => {
  const cart = new Cart();
  cart.add(TEA, 2);
  cart.add(MUG);
  cart.remove("Tea");
  assert.equal(cart.subtotal(), 850);
});

test("half a piece is refused", () => {
  assert.throws(() => new Cart().add(TEA, 0.5), RangeError);
});
E
commit "2025-01-16T20:05:00+01:00" "A cart of products"

# --- 3: discount --------------------------------------------------------------------------------
cat > src/discount.js <<'E'
// Large orders are cheaper.

const STEPS = [
  { from: 10000, percent: 10 },
  { from: 5000, percent: 5 },
];

/** The percentage that a subtotal earns. */
export function percentFor(subtotal) {
  return STEPS.find((step) => subtotal >= step.from)?.percent ?? 0;
}

/** What is taken off, in cents. */
export function discountOn(subtotal) {
  return Math.round((subtotal * percentFor(subtotal)) / 100);
}
E
cat > tests/discount.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { discountOn, percentFor } from "../src/discount.js";

test("large orders earn a percentage", () => {
  assert.deepEqual([4999, 5000, 9999, 10000].map(percentFor), [0, 5, 5, 10]);
});

test("a discount is rounded to cents", () => {
  assert.equal(discountOn(5010), 251);
});
E
commit "2025-01-21T18:44:00+01:00" "A discount for large orders"

# --- 4: the receipt -----------------------------------------------------------------------------
cat > src/receipt.js <<'E'
// What is printed in the end.

import { discountOn, percentFor } from "./discount.js";
import { formatCents } from "./money.js";

function row(text, cents) {
  return `${text.padEnd(16)}${formatCents(cents).padStart(8)}`;
}

/** A cart as the lines of a receipt. */
export function receipt(cart) {
  const rows = cart.lines().map((line) => row(`${line.count} x ${line.product.name}`, line.cents));
  const subtotal = cart.subtotal();
  const discount = discountOn(subtotal);
  if (discount > 0) {
    rows.push(row(`${percentFor(subtotal)} % off`, -discount));
  }
  rows.push(row("Total", subtotal - discount));
  return rows;
}
E
cat > tests/receipt.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { Cart } from "../src/cart.js";
import { receipt } from "../src/receipt.js";

const MUG = { name: "Mug", cents: 850 };
const TEA = { name: "Tea", cents: 420 };

test("a receipt ends with the total", () => {
  const cart = new Cart();
  cart.add(TEA, 2);
  assert.deepEqual(receipt(cart), ["2 x Tea             8.40", "Total               8.40"]);
});

test("the discount has a row of its own", () => {
  const cart = new Cart();
  cart.add(MUG, 6);
  assert.equal(receipt(cart)[1], "5 % off            -2.55");
});
E
commit "2025-01-25T10:12:00+01:00" "Print a receipt"

# --- 5: the report of a customer, as a test -----------------------------------------------------
cat >> tests/receipt.test.js <<'E'

test("a product that is chosen twice is charged twice", () => {
  const cart = new Cart();
  cart.add(MUG);
  cart.add(TEA);
  cart.add(MUG);
  assert.deepEqual(receipt(cart), [
    "2 x Mug            17.00",
    "1 x Tea             4.20",
    "Total              21.20",
  ]);
});
E
commit "2025-02-03T09:31:00+01:00" "Test for the second mug that nobody pays for"

git rev-parse HEAD
