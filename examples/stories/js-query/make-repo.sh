#!/usr/bin/env bash
# Makes the example repository: the filters of a shop window, kept in links.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: encoding --------------------------------------------------------------------------------
mkdir -p src tests
cat > .gitignore <<'E'
node_modules/
E
cat > package.json <<'E'
{
  "name": "filter-links",
  "version": "0.1.0",
  "private": true,
  "type": "module",
  "scripts": { "test": "node --test" }
}
E
cat > README.md <<'E'
# filter-links

Keeps the filters that a visitor has chosen in the link, so that it can be shared:
`/shoes?brand=Ada&size=38`.

    node --test
E
cat > src/encoding.js <<'E'
// How single keys and values are written in a query string.

/** The text, fit for a query string. */
export function encodePart(text) {
  return encodeURIComponent(text).replaceAll("%20", "+");
}

/** The text that a part of a query string stands for. */
export function decodePart(part) {
  return decodeURIComponent(part);
}
E
cat > tests/encoding.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { decodePart, encodePart } from "../src/encoding.js";

test("characters with a meaning are encoded", () => {
  assert.equal(encodePart("a&b=c"), "a%26b%3Dc");
  assert.equal(decodePart("a%26b%3Dc"), "a&b=c");
});

test("a blank becomes a plus", () => {
  assert.equal(encodePart("dark blue"), "dark+blue");
});
E
commit "2025-06-10T14:05:00+02:00" "Encode parts of a query"

# --- 2: queries ---------------------------------------------------------------------------------
cat > src/query.js <<'E'
// Query strings and what they say: a map from keys to lists of values.

import { decodePart, encodePart } from "./encoding.js";

/** The map of a query string; a key without `=` has the value "". */
export function parseQuery(text) {
  const query = new Map();
  for (const pair of text.split("&").filter((each) => each !== "")) {
    const [key, value = ""] = pair.split(/=(.*)/s);
    query.set(decodePart(key), [decodePart(value)]);
  }
  return query;
}

/** The query string of such a map, keys in their order. */
export function buildQuery(query) {
  const pairs = [];
  for (const [key, values] of query) {
    pairs.push(`${encodePart(key)}=${encodePart(values.join(","))}`);
  }
  return pairs.join("&");
}
E
cat > tests/query.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { buildQuery, parseQuery } from "../src/query.js";

test("a query has keys and values", () => {
  assert.deepEqual([...parseQuery("brand=Ada&size=38")], [["brand", ["Ada"]], ["size", ["38"]]]);
});

test("a value may hold an equals sign", () => {
  assert.deepEqual(parseQuery("q=a=b").get("q"), ["a=b"]);
});

test("a key may come alone", () => {
  assert.deepEqual(parseQuery("&sale&").get("sale"), [""]);
});

test("a query is built in order", () => {
  assert.equal(buildQuery(new Map([["size", ["38"]], ["q", ["a&b"]]])), "size=38&q=a%26b");
});
E
commit "2025-06-10T17:30:00+02:00" "Read and build queries"

# --- 3: links -----------------------------------------------------------------------------------
cat > src/link.js <<'E'
// Links: a path and a query.

import { buildQuery, parseQuery } from "./query.js";

/** The parts of a link: `{ path, query }`. What follows a `#` is dropped. */
export function splitLink(link) {
  const [whole] = link.split("#");
  const at = whole.indexOf("?");
  if (at < 0) {
    return { path: whole, query: new Map() };
  }
  return { path: whole.slice(0, at), query: parseQuery(whole.slice(at + 1)) };
}

/** The link of a path and a query; without a question mark if there is nothing to ask. */
export function joinLink({ path, query }) {
  return query.size === 0 ? path : `${path}?${buildQuery(query)}`;
}
E
cat > tests/link.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { joinLink, splitLink } from "../src/link.js";

test("a link without a query stays as it is", () => {
  assert.equal(joinLink(splitLink("/shoes")), "/shoes");
});

test("what follows a hash is dropped", () => {
  assert.equal(joinLink(splitLink("/shoes?size=38#top")), "/shoes?size=38");
});
E
commit "2025-06-12T09:48:00+02:00" "Split and join links"

# --- 4: filters ---------------------------------------------------------------------------------
cat > src/filters.js <<'E'
// What a visitor wants to see.

import { joinLink, splitLink } from "./link.js";

/** The link after one more value of a filter was chosen; it may have several. */
export function choose(link, filter, value) {
  const { path, query } = splitLink(link);
  const chosen = query.get(filter) ?? [];
  if (!chosen.includes(value)) {
    query.set(filter, [...chosen, value]);
  }
  return joinLink({ path, query });
}

/** The link after a filter was cleared. */
export function clear(link, filter) {
  const { path, query } = splitLink(link);
  query.delete(filter);
  return joinLink({ path, query });
}

/** The goods that pass all filters of a link: of each filter, any of its values. */
export function pick(goods, link) {
  const filters = [...splitLink(link).query];
  return goods.filter((item) => filters.every(([key, values]) => values.includes(item[key])));
}
E
cat > tests/filters.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { choose, clear, pick } from "../src/filters.js";

const GOODS = [
  { name: "Boot", brand: "Ada", colour: "dark blue" },
  { name: "Clog", brand: "Bo", colour: "red" },
  { name: "Mule", brand: "Cy", colour: "red" },
];

function names(link) {
  return pick(GOODS, link).map((item) => item.name);
}

test("filters are kept in the link", () => {
  assert.equal(choose("/shoes?brand=Bo", "colour", "red"), "/shoes?brand=Bo&colour=red");
  assert.equal(clear("/shoes?brand=Bo&colour=red", "brand"), "/shoes?colour=red");
});

test("all filters have to be passed", () => {
  assert.deepEqual(names("/shoes?brand=Bo&colour=red"), ["Clog"]);
});

test("a value is chosen once", () => {
  assert.equal(choose("/shoes?brand=Bo", "brand", "Bo"), "/shoes?brand=Bo");
});
E
commit "2025-06-15T21:14:00+02:00" "Filters in links"

# --- 5: the reports of visitors, as tests -------------------------------------------------------
cat >> tests/filters.test.js <<'E'

test("a second brand is added to the link", () => {
  assert.equal(choose("/shoes?brand=Ada", "brand", "Bo"), "/shoes?brand=Ada&brand=Bo");
});

test("a link with two brands shows both", () => {
  assert.deepEqual(names("/shoes?brand=Ada&brand=Cy"), ["Boot", "Mule"]);
});

test("a colour of two words is found again", () => {
  assert.deepEqual(names(choose("/shoes", "colour", "dark blue")), ["Boot"]);
});
E
commit "2025-06-24T10:39:00+02:00" "Tests for filters that get lost when a link is shared"

git rev-parse HEAD
