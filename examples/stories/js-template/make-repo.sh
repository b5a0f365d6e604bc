#!/usr/bin/env bash
# Makes the example repository: letters made from templates with lists and conditions.
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
  "name": "stencil",
  "version": "0.1.0",
  "private": true,
  "type": "module",
  "scripts": { "test": "node --test" }
}
E
cat > README.md <<'E'
# stencil

Fills templates.

    Dear {{customer.name}},
    {{#each parcels}}- {{title}}
    {{/each}}{{#if gift}}Wrapped as a gift.{{/if}}

Inside a list, names are looked up in its item first; `{{.}}` is the item itself.

    node --test
E
cat > src/tokens.js <<'E'
// The pieces of a template: text, values, and tags that open or close a block.

/** The tokens of a template, in order; each has a `kind`. */
export function tokenize(template) {
  const tokens = [];
  let from = 0;
  for (const tag of template.matchAll(/\{\{([^{}]+)\}\}/g)) {
    if (tag.index > from) {
      tokens.push({ kind: "text", text: template.slice(from, tag.index) });
    }
    tokens.push(readTag(tag[1].trim()));
    from = tag.index + tag[0].length;
  }
  if (from < template.length) {
    tokens.push({ kind: "text", text: template.slice(from) });
  }
  return tokens;
}

function readTag(tag) {
  const open = /^#(each|if)\s+(\S+)$/.exec(tag);
  if (open) {
    return { kind: "open", block: open[1], name: open[2] };
  }
  const close = /^\/(each|if)$/.exec(tag);
  if (close) {
    return { kind: "close", block: close[1] };
  }
  return { kind: "value", name: tag };
}
E
cat > tests/tokens.test.js <<'E'
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { tokenize } from "../src/tokens.js";

describe("tokens", () => {
  it("alternate between text and tags", () => {
    assert.deepEqual(tokenize("a {{ b }}!").map((token) => token.kind), ["text", "value", "text"]);
  });

  it("tell which block they open and close", () => {
    assert.deepEqual(tokenize("{{#each list}}{{/each}}"), [
      { kind: "open", block: "each", name: "list" },
      { kind: "close", block: "each" },
    ]);
  });
});
E
commit "2025-05-03T09:10:00+02:00" "Take a template apart"

# --- 2: scopes ----------------------------------------------------------------------------------
cat > src/scope.js <<'E'
// Where names are looked up: the innermost item first, the data of the whole letter last.

/** A scope over `data`; `outer` is asked for what isn't there. */
export function scopeOf(data, outer = undefined) {
  return { data, outer };
}

function has(data, name) {
  return typeof data === "object" && data !== null && Object.hasOwn(data, name);
}

/** The value of a name such as `customer.name`; `undefined` if there is none. */
export function lookUp(scope, name) {
  if (name === ".") {
    return scope.data;
  }
  const [first, ...rest] = name.split(".");
  let at = scope;
  while (at && !has(at.data, first)) {
    at = at.outer;
  }
  return rest.reduce((value, part) => (has(value, part) ? value[part] : undefined), at?.data[first]);
}
E
cat > tests/scope.test.js <<'E'
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { lookUp, scopeOf } from "../src/scope.js";

describe("names", () => {
  it("reach into objects", () => {
    assert.equal(lookUp(scopeOf({ a: { b: 3 } }), "a.b"), 3);
    assert.equal(lookUp(scopeOf({ a: 1 }), "a.b"), undefined);
  });

  it("are looked up inside first", () => {
    const scope = scopeOf({ a: 1 }, scopeOf({ a: 2, b: 5 }));
    assert.deepEqual([lookUp(scope, "a"), lookUp(scope, "b")], [1, 5]);
  });
});
E
commit "2025-05-03T11:42:00+02:00" "Look names up from the inside out"

# --- 3: rendering -------------------------------------------------------------------------------
cat > src/render.js <<'E'
// Filling in.

import { lookUp, scopeOf } from "./scope.js";

/** Where the block that is opened at `start` is closed. */
function closing(tokens, start) {
  const { block, name } = tokens[start];
  for (let at = start + 1; at < tokens.length; at += 1) {
    if (tokens[at].kind === "close" && tokens[at].block === block) {
      return at;
    }
  }
  throw new Error(`{{#${block} ${name}}} is never closed`);
}

function renderBlock({ block, name }, inside, scope) {
  const value = lookUp(scope, name);
  if (block === "if") {
    return value ? render(inside, scope) : "";
  }
  const items = value ?? [];
  return items.map((item) => render(inside, scopeOf(item, scope))).join("");
}

/** The text that tokens stand for. */
export function render(tokens, scope) {
  let text = "";
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at];
    if (token.kind === "text") {
      text += token.text;
    } else if (token.kind === "value") {
      text += String(lookUp(scope, token.name) ?? "");
    } else if (token.kind === "open") {
      const end = closing(tokens, at);
      text += renderBlock(token, tokens.slice(at + 1, end), scope);
      at = end;
    } else {
      throw new Error(`{{/${token.block}}} closes nothing`);
    }
  }
  return text;
}
E
cat > src/letter.js <<'E'
// Letters: a template, filled with what is known about the customer.

import { render } from "./render.js";
import { scopeOf } from "./scope.js";
import { tokenize } from "./tokens.js";

/** The filled letter. Lines hold no blanks at their ends. */
export function fillLetter(template, data) {
  const text = render(tokenize(template), scopeOf(data));
  return text.split("\n").map((line) => line.trimEnd()).join("\n");
}
E
cat > tests/letter.test.js <<'E'
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { fillLetter } from "../src/letter.js";

describe("a letter", () => {
  it("has values filled in", () => {
    assert.equal(fillLetter("Dear {{who.name}},", { who: { name: "Ida" } }), "Dear Ida,");
    assert.equal(fillLetter("<{{nothing}}>", {}), "<>");
  });

  it("repeats what lies in a list", () => {
    assert.equal(fillLetter("{{#each n}}{{.}};{{/each}}", { n: [1, 2, 3] }), "1;2;3;");
  });

  it("leaves out what does not apply", () => {
    assert.equal(fillLetter("a{{#if gift}}b{{/if}}c", { gift: false }), "ac");
  });

  it("is refused when a block stays open", () => {
    assert.throws(() => fillLetter("{{#if gift}}a", {}), /is never closed/);
    assert.throws(() => fillLetter("a{{/if}}", {}), /closes nothing/);
  });
});
E
commit "2025-05-04T20:33:00+02:00" "Fill letters"

# --- 4: conditions inside lists -----------------------------------------------------------------
cat >> tests/letter.test.js <<'E'

describe("a block", () => {
  it("may lie inside another kind of block", () => {
    const template = "{{#each items}}{{name}}{{#if sold}} (sold){{/if}}, {{/each}}";
    const items = [{ name: "Vase", sold: true }, { name: "Bowl", sold: false }];
    assert.equal(fillLetter(template, { items }), "Vase (sold), Bowl,");
  });
});
E
commit "2025-05-07T18:19:00+02:00" "Test for conditions inside lists"

# --- 5: the report of the shipping department, as a test ----------------------------------------
cat > tests/parcels.test.js <<'E'
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { fillLetter } from "../src/letter.js";

const TEMPLATE = `{{customer}} gets:
{{#each parcels}}Parcel {{number}}:{{#each items}} {{.}}{{/each}}
{{/each}}Thank you.`;

describe("the shipping letter", () => {
  it("lists the items of every parcel", () => {
    const parcels = [{ number: 1, items: ["pen", "ink"] }, { number: 2, items: ["paper"] }];
    const letter = fillLetter(TEMPLATE, { customer: "Ida", parcels });
    assert.equal(letter, "Ida gets:\nParcel 1: pen ink\nParcel 2: paper\nThank you.");
  });
});
E
commit "2025-05-19T08:27:00+02:00" "Test for the shipping letter"

git rev-parse HEAD
