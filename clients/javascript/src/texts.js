/** The texts of the widget. */

/** `{n}` is a number or, in `said`, the name of a thumb. */
const ENGLISH = {
  question: "Was this answer helpful?",
  up: "Helpful",
  down: "Not helpful",
  why: "What went wrong?",
  wrong: "Not true",
  incomplete: "Incomplete",
  slow: "Too slow",
  unclear: "Hard to follow",
  other: "Something else",
  words: "In your own words",
  send: "Send",
  sending: "Sending…",
  close: "Not now",
  thanks: "Thanks",
  sent: "Sent. Thank you",
  removed: "Taken back",
  undo: "Undo",
  change: "Change",
  reply: "Show reply",
  required: "Pick a reason or write a few words, so that we can fix it",
  too_long: "This text is too long. Please shorten it",
  spam: "This text looks like spam. Please reword it",
  unsaved: "Not saved.",
  unsent: "Not sent.",
  again: "Try again",
  retry: "Trying again in {n} s",
  wait: "A moment, please. Saving in {n} s",
  offline: "You are offline. We send it later",
  closed: "Feedback is closed for this chat",
  said: "You said: {n}.",
};

const SHIPPED = ["es", "de", "fr", "pt", "ar", "ja", "zh"];
let shipped = {};
/** What pages add, by language. */
const own = {};

const baseOf = (language) => language.toLowerCase().split("-")[0];

/** Loads the texts of a language. Returns `undefined` if that is done, or nothing is shipped. */
export const loadTexts = (language) => {
  if (!SHIPPED.includes(baseOf(language)) || shipped.es) return undefined;
  // Without them, the widget speaks English.
  return import("./widget-languages.js").then(
    ({ LANGUAGES }) => (shipped = LANGUAGES),
    () => (shipped = { es: {} }),
  );
};

export const textsOf = (language) => {
  const base = baseOf(language);
  return { ...ENGLISH, ...shipped[base], ...own[base], ...own[language.toLowerCase()] };
};

export const addTexts = (language, texts) => {
  language = language.toLowerCase();
  own[language] = { ...own[language], ...texts };
};
