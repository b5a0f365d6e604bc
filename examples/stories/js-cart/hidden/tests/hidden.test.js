import assert from "node:assert/strict";
import { test } from "node:test";

import { Cart } from "../src/cart.js";
import { receipt } from "../src/receipt.js";

const LAMP = { name: "Lamp", cents: 2500 };
const PEN = { name: "Pen", cents: 199 };

function cartOf(...choices) {
  const cart = new Cart();
  for (const [product, count] of choices) {
    cart.add(product, count);
  }
  return cart;
}

test("pieces add up, however many and however often", () => {
  const cart = cartOf([PEN, 3], [LAMP, 1], [PEN, 4], [PEN, 10]);
  assert.deepEqual(cart.lines().map((line) => line.count), [17, 1]);
  assert.equal(cart.subtotal(), 17 * 199 + 2500);
});

test("the order of choosing the pieces makes no difference to the sum", () => {
  assert.equal(cartOf([PEN, 5], [PEN, 1]).subtotal(), 6 * 199);
  assert.equal(cartOf([PEN, 1], [PEN, 5]).subtotal(), 6 * 199);
});

test("the line stays where the product was first chosen", () => {
  const cart = cartOf([PEN, 1], [LAMP, 1], [PEN, 1]);
  assert.deepEqual(cart.lines().map((line) => line.product.name), ["Pen", "Lamp"]);
});

test("added pieces count towards the discount", () => {
  assert.deepEqual(receipt(cartOf([LAMP, 1], [LAMP, 3])), [
    "4 x Lamp          100.00",
    "10 % off          -10.00",
    "Total              90.00",
  ]);
});

test("a product that was taken out begins anew", () => {
  const cart = cartOf([PEN, 3]);
  cart.remove("Pen");
  cart.add(PEN, 2);
  assert.deepEqual(cart.lines().map((line) => line.count), [2]);
});
