#!/usr/bin/env bash
# Makes the example repository: a calculator for sheets of formulas.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: tokens ----------------------------------------------------------------------------------
mkdir -p src tests
cat > .gitignore <<'E'
node_modules/
E
cat > package.json <<'E'
{
  "name": "jotter",
  "version": "0.1.0",
  "private": true,
  "type": "module",
  "scripts": { "test": "node --test" }
}
E
cat > README.md <<'E'
# jotter

A sheet of formulas, one a line; names stand for earlier results.

    width = 4
    height = 2.5
    (width + 1) * height

    node --test
E
cat > src/tokens.js <<'E'
// A formula, taken apart.

/** The tokens of a formula: `{ kind: "number" | "name" | "sign", text }`. */
export function tokenize(formula) {
  const tokens = [];
  let rest = formula.trimStart();
  while (rest !== "") {
    const [text, kind] = next(rest);
    tokens.push({ kind, text });
    rest = rest.slice(text.length).trimStart();
  }
  return tokens;
}

function next(rest) {
  const number = /^\d+(\.\d+)?/.exec(rest);
  if (number) {
    return [number[0], "number"];
  }
  const name = /^[a-z]\w*/i.exec(rest);
  if (name) {
    return [name[0], "name"];
  }
  if ("+-*/()=".includes(rest[0])) {
    return [rest[0], "sign"];
  }
  throw new Error(`unexpected ${rest[0]}`);
}
E
cat > tests/tokens.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { tokenize } from "../src/tokens.js";

test("blanks don't matter", () => {
  assert.deepEqual(tokenize(" a1*( 2.5)").map((token) => token.text), ["a1", "*", "(", "2.5", ")"]);
});

test("an unknown character is named", () => {
  assert.throws(() => tokenize("2 ? 3"), /unexpected \?/);
});
E
commit "2025-08-02T10:00:00+02:00" "Take formulas apart"

# --- 2: trees -----------------------------------------------------------------------------------
cat > src/parser.js <<'E'
// Formulas as trees: numbers, names, and operators with what they work on.
//
//     sum     = product { ("+" | "-") product }
//     product = factor { ("*" | "/") factor }
//     factor  = "-" factor | atom
//     atom    = number | name | "(" sum ")"

import { tokenize } from "./tokens.js";

class Parser {
  #tokens;
  #at = 0;

  constructor(formula) {
    this.#tokens = tokenize(formula);
  }

  /** The tree of the whole formula. */
  whole() {
    const tree = this.sum();
    if (this.#at < this.#tokens.length) {
      throw new Error(`unexpected ${this.#tokens[this.#at].text}`);
    }
    return tree;
  }

  sum() {
    let tree = this.product();
    while (this.#sees("+", "-")) {
      tree = { operator: this.#take().text, left: tree, right: this.product() };
    }
    return tree;
  }

  product() {
    let tree = this.factor();
    while (this.#sees("*", "/")) {
      tree = { operator: this.#take().text, left: tree, right: this.factor() };
    }
    return tree;
  }

  factor() {
    if (this.#sees("-")) {
      this.#take();
      return { operator: "negate", right: this.factor() };
    }
    return this.atom();
  }

  atom() {
    const token = this.#take();
    if (token.kind === "number") {
      return { number: Number(token.text) };
    }
    if (token.kind === "name") {
      return { name: token.text };
    }
    if (token.text !== "(") {
      throw new Error(`unexpected ${token.text}`);
    }
    const inside = this.sum();
    if (!this.#sees(")")) {
      throw new Error("a bracket is left open");
    }
    this.#take();
    return inside;
  }

  #sees(...signs) {
    const token = this.#tokens[this.#at];
    return token?.kind === "sign" && signs.includes(token.text);
  }

  #take() {
    if (this.#at === this.#tokens.length) {
      throw new Error("the formula ends too early");
    }
    this.#at += 1;
    return this.#tokens[this.#at - 1];
  }
}

/** The tree of a formula; throws if it isn't one. */
export function parse(formula) {
  return new Parser(formula).whole();
}
E
cat > tests/parser.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { parse } from "../src/parser.js";

test("products bind tighter than sums", () => {
  assert.deepEqual(parse("1 + 2 * x"), {
    operator: "+",
    left: { number: 1 },
    right: { operator: "*", left: { number: 2 }, right: { name: "x" } },
  });
});

test("what isn't a formula is refused", () => {
  assert.throws(() => parse("(1 + 2"), /left open/);
  assert.throws(() => parse("1 +"), /ends too early/);
  assert.throws(() => parse("1 2"), /unexpected 2/);
});
E
commit "2025-08-02T15:25:00+02:00" "Formulas as trees"

# --- 3: results ---------------------------------------------------------------------------------
cat > src/evaluate.js <<'E'
// What a tree amounts to.

/** The value of a tree; `names` maps the names that are known to their values. */
export function evaluate(tree, names) {
  if ("number" in tree) {
    return tree.number;
  }
  if ("name" in tree) {
    if (!names.has(tree.name)) {
      throw new Error(`unknown name: ${tree.name}`);
    }
    return names.get(tree.name);
  }
  const right = evaluate(tree.right, names);
  if (tree.operator === "negate") {
    return -right;
  }
  const left = evaluate(tree.left, names);
  switch (tree.operator) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    default:
      return divide(left, right);
  }
}

function divide(left, right) {
  if (right === 0) {
    throw new Error("division by zero");
  }
  return left / right;
}
E
cat > tests/evaluate.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { evaluate } from "../src/evaluate.js";
import { parse } from "../src/parser.js";

function value(formula, names = {}) {
  return evaluate(parse(formula), new Map(Object.entries(names)));
}

test("operators of one kind work from the left", () => {
  assert.equal(value("10 - 3 - 2"), 5);
  assert.equal(value("24 / 4 / 2"), 3);
});

test("a minus may stand in front of anything", () => {
  assert.equal(value("2 * -(1 + 2)"), -6);
});

test("names have values", () => {
  assert.equal(value("a * a", { a: 7 }), 49);
  assert.throws(() => value("b"), /unknown name: b/);
});

test("nothing is divided by zero", () => {
  assert.throws(() => value("1 / (2 - 2)"), /division by zero/);
});
E
commit "2025-08-03T11:17:00+02:00" "Work formulas out"

# --- 4: sheets ----------------------------------------------------------------------------------
cat > src/sheet.js <<'E'
// Sheets: formulas one a line, with names for results.

import { evaluate } from "./evaluate.js";
import { parse } from "./parser.js";

function answer(line, names) {
  const [, name, formula] = /^\s*([a-z]\w*)\s*=(.*)$/i.exec(line) ?? [undefined, undefined, line];
  const value = evaluate(parse(formula), names);
  if (name) {
    names.set(name, value);
  }
  return String(value);
}

/** The answers to all lines; what is wrong with a line is its answer. */
export function work(text) {
  const names = new Map();
  return text.split("\n").map((line) => {
    try {
      return line.trim() === "" ? "" : answer(line, names);
    } catch (error) {
      return `? ${error.message}`;
    }
  });
}
E
cat > tests/sheet.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { work } from "../src/sheet.js";

test("names stand for earlier results", () => {
  assert.deepEqual(work("width = 4\n\nwidth * 2.5"), ["4", "", "10"]);
});

test("a wrong line does not stop the others", () => {
  assert.deepEqual(work("1 +\n1 + 1"), ["? the formula ends too early", "2"]);
});
E
commit "2025-08-09T20:41:00+02:00" "Sheets of formulas"

# --- 5: what is wanted, as tests ----------------------------------------------------------------
cat >> tests/sheet.test.js <<'E'

test("powers can be written", () => {
  assert.deepEqual(work("edge = 3\nedge ^ 3\n2 * edge ^ 2"), ["3", "27", "18"]);
});
E
cat >> tests/evaluate.test.js <<'E'

test("a power may be in brackets", () => {
  assert.equal(value("(1 + 1) ^ (2 + 3)"), 32);
});
E
commit "2025-08-16T13:05:00+02:00" "Tests for powers"

git rev-parse HEAD
