import assert from "node:assert/strict";
import { test } from "node:test";

import { runAll } from "../src/commands.js";
import { Editor } from "../src/editor.js";

test("as many changes are made again as were taken back, in order", () => {
  const editor = new Editor();
  for (const letter of "abc") {
    editor.insert(editor.text.length, letter);
  }
  editor.undo();
  editor.undo();
  editor.undo();
  const seen = [];
  while (seen.length < 5 && editor.redo()) {
    seen.push(editor.text);
  }
  assert.deepEqual(seen, ["a", "ab", "abc"]);
});

test("without anything taken back there is nothing to redo", () => {
  const editor = new Editor("x");
  assert.equal(editor.redo(), false);
  editor.insert(0, "y");
  assert.equal(editor.redo(), false);
  assert.equal(editor.text, "yx");
});

test("a new change ends what could be made again", () => {
  const editor = new Editor();
  editor.insert(0, "abc");
  editor.undo();
  editor.insert(0, "xyz");
  assert.equal(editor.redo(), false);
  assert.equal(editor.text, "xyz");
  editor.undo();
  assert.equal(editor.text, "");
});

test("a change that was made again can be taken back again", () => {
  const editor = new Editor("hello");
  editor.delete(0, 2);
  editor.undo();
  editor.redo();
  assert.equal(editor.text, "llo");
  assert.equal(editor.undo(), true);
  assert.equal(editor.text, "hello");
  assert.equal(editor.redo(), true);
  assert.equal(editor.text, "llo");
});

test("making a change again leaves the later ones to be made again", () => {
  assert.equal(runAll(new Editor(), "insert 0 a\ninsert 1 b\nundo\nundo\nredo\nredo"), "ab");
});

test("redo with nothing to redo does nothing as a command", () => {
  assert.equal(runAll(new Editor(), "insert 0 a\nredo\nredo"), "a");
});
