/** The texts of the widget in all languages. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { addTexts, loadTexts, textsOf } from "../src/texts.js";
import { LANGUAGES } from "../src/widget-languages.js";

const english = textsOf("en");
const placeholders = (text) => text.match(/\{\w*\}/g) ?? [];

test("English is there without loading anything, also for unknown languages", () => {
  for (const language of ["en", "en-GB", "nl", ""]) {
    assert.equal(loadTexts(language), undefined);
    assert.deepEqual(textsOf(language), english);
  }
});

test("the shipped languages are Spanish, German, French, Portuguese, Arabic, Japanese and Chinese", () => {
  assert.deepEqual(Object.keys(LANGUAGES).sort(), ["ar", "de", "es", "fr", "ja", "pt", "zh"]);
});

for (const [language, texts] of Object.entries(LANGUAGES)) {
  test(`${language} has each text of English, with the same placeholders`, async () => {
    assert.deepEqual(Object.keys(texts).sort(), Object.keys(english).sort());
    for (const [name, text] of Object.entries(texts)) {
      assert.ok(text.trim() === text && text, `${name} is empty or has white space around it`);
      assert.deepEqual(placeholders(text), placeholders(english[name]), name);
    }
    await loadTexts(language);
    assert.deepEqual(textsOf(language), texts);
    assert.deepEqual(textsOf(`${language.toUpperCase()}-419`), texts);
  });
}

test("texts of a page replace shipped ones, and those of a region those of the language", async () => {
  await loadTexts("pt");
  addTexts("pt", { send: "Mandar", close: "Fechar" });
  addTexts("pt-BR", { close: "Depois" });
  const { send, close, up } = textsOf("pt-BR");
  assert.deepEqual([send, close, up], ["Mandar", "Depois", LANGUAGES.pt.up]);
  assert.equal(textsOf("pt").close, "Fechar");
});
