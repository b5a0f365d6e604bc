#!/usr/bin/env bash
# Makes the example repository: a line of text that is edited by commands, with undo.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: changes ---------------------------------------------------------------------------------
mkdir -p src tests
cat > .gitignore <<'E'
node_modules/
E
cat > package.json <<'E'
{
  "name": "one-line",
  "version": "0.1.0",
  "private": true,
  "type": "module",
  "scripts": { "test": "node --test" }
}
E
cat > README.md <<'E'
# one-line

Edits one line of text by commands:

    insert 0 hello
    delete 0 2
    undo

    node --test
E
cat > src/change.js <<'E'
// A change of a text: at a position, some characters go and others come.

/** A change: `removed` is replaced by `added` at `at`. */
export function changeOf(at, removed, added) {
  return { at, removed, added };
}

/** The text after a change; throws if the text isn't the one that it was made for. */
export function apply(text, { at, removed, added }) {
  if (text.slice(at, at + removed.length) !== removed || at > text.length) {
    throw new Error(`the change at ${at} doesn't fit`);
  }
  return text.slice(0, at) + added + text.slice(at + removed.length);
}

/** The change that takes another one back. */
export function inverse({ at, removed, added }) {
  return changeOf(at, added, removed);
}
E
cat > tests/change.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { apply, changeOf, inverse } from "../src/change.js";

test("a change replaces characters", () => {
  assert.equal(apply("hallo", changeOf(1, "a", "e")), "hello");
});

test("the inverse takes a change back", () => {
  const change = changeOf(1, "a", "e");
  assert.equal(apply(apply("hallo", change), inverse(change)), "hallo");
});

test("a change for another text is refused", () => {
  assert.throws(() => apply("hello", changeOf(1, "a", "e")), /doesn't fit/);
});
E
commit "2025-07-01T19:00:00+02:00" "Changes of a text"

# --- 2: history ---------------------------------------------------------------------------------
cat > src/history.js <<'E'
// The changes that were made, so that they can be taken back.

import { inverse } from "./change.js";

/** The latest changes; the oldest is forgotten when there are more than `limit`. */
export class History {
  #done = [];
  #limit;

  constructor(limit = 100) {
    this.#limit = limit;
  }

  /** Notes a change that was made. */
  push(change) {
    this.#done.push(change);
    if (this.#done.length > this.#limit) {
      this.#done.shift();
    }
  }

  /** The change that takes the latest one back; `undefined` if there is none. */
  undo() {
    const change = this.#done.pop();
    return change && inverse(change);
  }
}
E
cat > tests/history.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { changeOf } from "../src/change.js";
import { History } from "../src/history.js";

test("the latest change is taken back first", () => {
  const history = new History();
  history.push(changeOf(0, "", "a"));
  history.push(changeOf(1, "", "b"));
  assert.deepEqual(history.undo(), changeOf(1, "b", ""));
  assert.deepEqual(history.undo(), changeOf(0, "a", ""));
  assert.equal(history.undo(), undefined);
});

test("the oldest change is forgotten", () => {
  const history = new History(1);
  history.push(changeOf(0, "", "a"));
  history.push(changeOf(1, "", "b"));
  history.undo();
  assert.equal(history.undo(), undefined);
});
E
commit "2025-07-01T20:32:00+02:00" "A history of changes"

# --- 3: the editor ------------------------------------------------------------------------------
cat > src/editor.js <<'E'
// The text that is edited, together with its history.

import { apply, changeOf } from "./change.js";
import { History } from "./history.js";

/** A line of text. */
export class Editor {
  #text;
  #history = new History();

  constructor(text = "") {
    this.#text = text;
  }

  get text() {
    return this.#text;
  }

  /** Puts characters in at a position. */
  insert(at, added) {
    this.#make(changeOf(at, "", added));
  }

  /** Takes `count` characters out, or as many as there are. */
  delete(at, count) {
    this.#make(changeOf(at, this.#text.slice(at, at + count), ""));
  }

  /** Takes the latest change back; says whether there was one. */
  undo() {
    const change = this.#history.undo();
    if (!change) {
      return false;
    }
    this.#text = apply(this.#text, change);
    return true;
  }

  #make(change) {
    this.#text = apply(this.#text, change);
    this.#history.push(change);
  }
}
E
cat > tests/editor.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { Editor } from "../src/editor.js";

test("text is inserted and deleted", () => {
  const editor = new Editor("hello");
  editor.insert(5, " you");
  editor.delete(0, 1);
  assert.equal(editor.text, "ello you");
});

test("undo takes changes back, the latest first", () => {
  const editor = new Editor();
  editor.insert(0, "ab");
  editor.delete(0, 1);
  assert.equal(editor.undo(), true);
  assert.equal(editor.text, "ab");
  assert.equal(editor.undo(), true);
  assert.equal(editor.text, "");
  assert.equal(editor.undo(), false);
});
E
commit "2025-07-02T18:11:00+02:00" "An editor with undo"

# --- 4: commands --------------------------------------------------------------------------------
cat > src/commands.js <<'E'
// Commands as text, one a line: `insert 0 hello`, `delete 2 3`, `undo`.

/** Carries a command out; throws if it isn't one. */
export function run(editor, line) {
  const [, name, rest] = /^(\S+)\s?(.*)$/.exec(line) ?? [];
  if (name === "insert") {
    const [, at, added] = /^(\d+) (.+)$/.exec(rest) ?? [];
    editor.insert(Number(at), added);
  } else if (name === "delete") {
    const [at, count] = rest.split(" ").map(Number);
    editor.delete(at, count);
  } else if (name === "undo") {
    editor.undo();
  } else {
    throw new Error(`unknown command: ${line}`);
  }
}

/** The text after all commands of a script, begun with an empty one. */
export function runAll(editor, script) {
  for (const line of script.split("\n").filter((each) => each !== "")) {
    run(editor, line);
  }
  return editor.text;
}
E
cat > tests/commands.test.js <<'E'
import assert from "node:assert/strict";
import { test } from "node:test";

import { run, runAll } from "../src/commands.js";
import { Editor } from "../src/editor.js";

test("commands edit the text", () => {
  assert.equal(runAll(new Editor(), "insert 0 good bye\ndelete 4 1\nundo\ndelete 0 1"), "ood bye");
});

test("other words are refused", () => {
  assert.throws(() => run(new Editor(), "explode"), /unknown command: explode/);
});
E
commit "2025-07-04T21:50:00+02:00" "Commands as text"

# --- 5: what is wanted, as tests ----------------------------------------------------------------
cat >> tests/editor.test.js <<'E'

test("redo makes a change again that was taken back", () => {
  const editor = new Editor();
  editor.insert(0, "ab");
  editor.undo();
  assert.equal(editor.redo(), true);
  assert.equal(editor.text, "ab");
});
E
cat >> tests/commands.test.js <<'E'

test("redo is a command", () => {
  assert.equal(runAll(new Editor(), "insert 0 hi\nundo\nredo"), "hi");
});
E
commit "2025-07-10T08:08:00+02:00" "Tests for redo"

git rev-parse HEAD
