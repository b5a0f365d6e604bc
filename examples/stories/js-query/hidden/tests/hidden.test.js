import assert from "node:assert/strict";
import { test } from "node:test";

import { choose, pick } from "../src/filters.js";
import { joinLink, splitLink } from "../src/link.js";
import { buildQuery, parseQuery } from "../src/query.js";

test("three and more values are kept, in order", () => {
  let link = "/shoes";
  for (const brand of ["Cy", "Ada", "Bo", "Di"]) {
    link = choose(link, "brand", brand);
  }
  assert.equal(link, "/shoes?brand=Cy&brand=Ada&brand=Bo&brand=Di");
  assert.deepEqual(parseQuery("brand=Cy&brand=Ada&brand=Bo&brand=Di").get("brand"), ["Cy", "Ada", "Bo", "Di"]);
});

test("values of one key may stand apart", () => {
  const query = parseQuery("a=1&b=2&a=3");
  assert.deepEqual(query.get("a"), ["1", "3"]);
  assert.deepEqual(query.get("b"), ["2"]);
});

test("every plus is a blank", () => {
  assert.deepEqual(parseQuery("colour=very+dark+blue").get("colour"), ["very dark blue"]);
  assert.deepEqual(parseQuery("heel+height=3").get("heel height"), ["3"]);
});

test("an encoded plus stays a plus", () => {
  assert.deepEqual(parseQuery("q=1%2B1+is").get("q"), ["1+1 is"]);
});

test("a comma does not separate values", () => {
  assert.deepEqual(parseQuery(buildQuery(new Map([["q", ["a,b", "c"]]]))).get("q"), ["a,b", "c"]);
});

test("what is written is read again", () => {
  const query = new Map([["a b", ["x + y", "", "50 %", "a=b&c", "%2B", "ä, ö"]], ["c+d", ["#1?"]]]);
  const again = splitLink(joinLink({ path: "/p", query }));
  assert.deepEqual([...again.query], [...query]);
});

test("a value in the middle of three is found", () => {
  const goods = [{ brand: "Bo" }, { brand: "Ed" }];
  assert.deepEqual(pick(goods, "/shoes?brand=Ada&brand=Bo&brand=Cy"), [{ brand: "Bo" }]);
});
