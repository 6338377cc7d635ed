/** The custom element `<harken-feedback>`. Importing the module defines it. */

import type { Problem } from "./harken.js";

/** The rating of a thumb. */
export type Thumb = "up" | "down";

/** The vote that the widget shows as stored. */
export interface StoredVote {
  /** The id of the feedback. */
  id: string;
  rating: Thumb | null;
  comment: string;
  tags: string[];
  /** The operator's reply. */
  reply: string | null;
  version: number;
}

/** The texts of the widget. `{n}` is a number or, in `said`, the name of a thumb. */
export interface HarkenTexts {
  question: string;
  up: string;
  down: string;
  why: string;
  wrong: string;
  incomplete: string;
  slow: string;
  unclear: string;
  other: string;
  words: string;
  send: string;
  sending: string;
  close: string;
  thanks: string;
  sent: string;
  removed: string;
  undo: string;
  change: string;
  reply: string;
  required: string;
  too_long: string;
  spam: string;
  unsaved: string;
  unsent: string;
  again: string;
  retry: string;
  wait: string;
  offline: string;
  closed: string;
  said: string;
}

/** The events of the widget, which bubble, also out of shadow trees. */
export interface HarkenFeedbackEventMap {
  /** Before a vote is sent. `rating` is `null` if the vote is withdrawn. Cancelling it sends nothing. */
  "harken-vote": CustomEvent<{ rating: Thumb | null; previous: Thumb | null }>;
  "harken-saved": CustomEvent<{ id: string; rating: Thumb | null; version: number; reply: string | null }>;
  "harken-removed": CustomEvent<{ previous: Thumb | null }>;
  /**
   * A request failed. `status` is 0 if there was no response. `attempt` counts from 1. Cancelling the
   * event hides the widget's own message.
   */
  "harken-failed": CustomEvent<{
    status: number;
    problem: Problem;
    attempt: number | undefined;
    willRetry: boolean;
  }>;
  /** A token is needed. `expired` is `false` if there was none. */
  "harken-token": CustomEvent<{ expired: boolean; provide(token: string | undefined | Promise<string | undefined>): void }>;
  /** Before the panel opens. Cancelling it keeps the panel closed. */
  "harken-open": CustomEvent<{ rating: Thumb }>;
  "harken-close": CustomEvent<{ rating: Thumb }>;
}

/** The attributes of the widget, as they are written in JSX. A flag is off if it is `undefined`. */
export interface HarkenFeedbackAttributes {
  /** The session. By default, that of the token. */
  session?: string;
  /** The message. Without it, the vote is about the session. */
  message?: string;
  /** A session token. */
  token?: string;
  /** Where Harken is served. By default, the folder of this module. */
  endpoint?: string;
  variant?: "inline" | "labelled" | "card";
  /** Codes and labels, such as `wrong:Not true, slow:Too slow`; empty for none. */
  reasons?: string;
  comment?: "optional" | "required" | "off";
  /** The thumbs that ask for words; `down` by default. */
  ask?: "down" | "both" | "none";
  /** By default, that of the page. */
  theme?: "auto" | "light" | "dark";
  /** The id of the agent that answered. */
  agent?: string;
  /** A JSON object with flat values. */
  context?: string;
  lang?: string;
  dir?: "ltr" | "rtl" | "auto";
  /** No votes. */
  disabled?: true | "";
  /** Only shows the vote. */
  readonly?: true | "";
}

export declare class HarkenFeedback extends HTMLElement {
  /** Adds or replaces texts of a language, such as `HarkenFeedback.texts("pt-BR", { send: "Mandar" })`. */
  static texts(language: string, texts: Partial<HarkenTexts>): void;

  /** The vote that is stored, or `null`. */
  readonly vote: StoredVote | null;

  /** The session token. It is never written into the page. */
  get token(): string | null;
  set token(token: string | null | undefined);

  /** Texts of this element, over those of its language. */
  get texts(): HarkenTexts | undefined;
  set texts(texts: Partial<HarkenTexts> | undefined);

  /** Opens the panel for a rating; for a thumbs-down by default. */
  open(rating?: Thumb): void;
  /** Closes the panel. Its words are kept. */
  close(): void;
  /** Closes the panel and forgets its words. */
  reset(): void;
  /** Sends a vote. Resolves to whether it was stored. */
  submit(vote: { rating: Thumb; comment?: string; tags?: string[] }): Promise<boolean>;

  addEventListener<K extends keyof HarkenFeedbackEventMap>(
    type: K,
    listener: (this: HarkenFeedback, event: HarkenFeedbackEventMap[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener<K extends keyof HTMLElementEventMap>(
    type: K,
    listener: (this: HarkenFeedback, event: HTMLElementEventMap[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "harken-feedback": HarkenFeedback;
  }
  // Inherited by the event maps of elements, documents and windows, as the events bubble.
  interface GlobalEventHandlersEventMap extends HarkenFeedbackEventMap {}
}
