import assert from "node:assert/strict";
import { test } from "node:test";

import { fillLetter } from "../src/letter.js";

test("two lists may follow each other", () => {
  const template = "{{#each a}}{{.}}{{/each}}-{{#each b}}{{.}}{{/each}}";
  assert.equal(fillLetter(template, { a: [1, 2], b: [3] }), "12-3");
});

test("two inner lists may follow each other", () => {
  const template = "{{#each rows}}{{#each a}}{{.}}{{/each}}|{{#each b}}{{.}}{{/each}};{{/each}}";
  assert.equal(fillLetter(template, { rows: [{ a: [1], b: [2, 3] }, { a: [], b: [4] }] }), "1|23;|4;");
});

test("lists may be three deep", () => {
  const template = "{{#each .}}[{{#each .}}({{#each .}}{{.}}{{/each}}){{/each}}]{{/each}}";
  assert.equal(fillLetter(template, [[[1, 2], [3]], [[4]]]), "[(12)(3)][(4)]");
});

test("a condition may lie inside a condition", () => {
  const template = "{{#if a}}A{{#if b}}B{{/if}}C{{/if}}D";
  assert.equal(fillLetter(template, { a: true, b: true }), "ABCD");
  assert.equal(fillLetter(template, { a: true, b: false }), "ACD");
  assert.equal(fillLetter(template, { a: false, b: true }), "D");
});

test("kinds may be mixed", () => {
  const template = "{{#if a}}{{#each l}}{{#if on}}{{n}}{{/if}}{{/each}}{{/if}}{{#if a}}!{{/if}}";
  assert.equal(fillLetter(template, { a: 1, l: [{ on: 1, n: 5 }, { on: 0, n: 6 }] }), "5!");
});

test("what is not closed is still refused", () => {
  assert.throws(() => fillLetter("{{#each a}}{{#each b}}{{/each}}", { a: [] }), /\{\{#each a\}\} is never closed/);
  assert.throws(() => fillLetter("{{#if a}}{{/if}}{{/if}}", { a: 1 }), /\{\{\/if\}\} closes nothing/);
});
