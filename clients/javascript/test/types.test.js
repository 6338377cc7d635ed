/** The types of the package say what the source does. TypeScript checks that each list here is complete. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import * as client from "harken-feedback";
import * as widget from "harken-feedback/widget";

/** @typedef {import("harken-feedback/widget").HarkenFeedbackAttributes} Attributes */
/** @typedef {import("harken-feedback/widget").HarkenFeedbackEventMap} Events */
/** @typedef {import("harken-feedback/widget").HarkenTexts} Texts */

/** @param {string} name */
const source = (name) => readFile(new URL(`../src/${name}.js`, import.meta.url), "utf8");

/** @param {object} values */
const publicNames = (values) => Object.getOwnPropertyNames(values).sort();

test("the attributes are those that the widget reads", async () => {
  /** @type {Record<Exclude<keyof Attributes, "dir" | "theme">, true>} */
  const declared = {
    session: true,
    message: true,
    token: true,
    endpoint: true,
    variant: true,
    reasons: true,
    comment: true,
    ask: true,
    agent: true,
    context: true,
    lang: true,
    disabled: true,
    readonly: true,
  };
  const { observedAttributes } = /** @type {any} */ (widget.HarkenFeedback);
  const read = [...(await source("widget")).matchAll(/this\.(?:get|has)Attribute\("(\w+)"\)/g)].map(([, name]) => name);
  assert.deepEqual([...new Set([...observedAttributes, ...read])].sort(), Object.keys(declared).sort());
});

test("the events are those that the widget sends", async () => {
  /** @type {Record<keyof Events, true>} */
  const declared = {
    "harken-vote": true,
    "harken-saved": true,
    "harken-removed": true,
    "harken-failed": true,
    "harken-token": true,
    "harken-open": true,
    "harken-close": true,
  };
  const sent = [...(await source("widget")).matchAll(/#emit\("([\w-]+)"/g)].map(([, name]) => name);
  assert.deepEqual([...new Set(sent)].sort(), Object.keys(declared).sort());
});

test("the members of the element are declared, except those for other modules and for browsers", () => {
  /** @type {Record<Exclude<keyof widget.HarkenFeedback, keyof HTMLElement>, true>} */
  const declared = { vote: true, token: true, texts: true, open: true, close: true, reset: true, submit: true };
  const others = ["constructor", "connectedCallback", "disconnectedCallback", "attributeChangedCallback"];
  const shared = ["update", "askForToken"];
  const expected = [...Object.keys(declared), ...others, ...shared].sort();
  assert.deepEqual(publicNames(widget.HarkenFeedback.prototype), expected);
});

test("the members of the client and the error are declared", () => {
  /** @type {Record<keyof client.HarkenClient, true>} */
  const members = {
    endpoint: true,
    token: true,
    session: true,
    renew: true,
    timeout: true,
    vote: true,
    withdraw: true,
    comment: true,
    votes: true,
  };
  const one = new client.HarkenClient();
  const found = [...publicNames(one), ...publicNames(client.HarkenClient.prototype)].filter((name) => name !== "constructor");
  assert.deepEqual(found.sort(), Object.keys(members).sort());
  /** @type {Record<Exclude<keyof client.HarkenError, keyof Error>, true>} */
  const fields = { status: true, problem: true, violations: true, retryAfter: true };
  const error = new client.HarkenError(503, {}, 7);
  assert.deepEqual(Object.keys(error).filter((name) => name !== "name").sort(), Object.keys(fields).sort());
  assert.equal(error.name, "HarkenError");
});

test("the texts are those of the widget", async () => {
  const { textsOf } = await import(String(new URL("../src/texts.js", import.meta.url)));
  const declared = (await readFile(new URL("../types/widget.d.ts", import.meta.url), "utf8"))
    .match(/interface HarkenTexts \{([^}]*)\}/)?.[1]
    .matchAll(/^ {2}(\w+): string;$/gm);
  assert.deepEqual(Object.keys(textsOf("en")).sort(), [...(declared ?? [])].map(([, name]) => name).sort());
});

test("the module exports are declared", () => {
  assert.deepEqual(Object.keys(client).sort(), ["HarkenClient", "HarkenError"]);
  assert.deepEqual(Object.keys(widget), ["HarkenFeedback"]);
});
