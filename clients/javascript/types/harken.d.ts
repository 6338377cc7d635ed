/** The browser client of Harken, without a user interface. */

/** `null` is neutral. */
export type Rating = "up" | "down" | null;

/** Flat values that are stored with feedback, such as `{ model: "large", attempt: 2 }`. */
export type Context = Record<string, string | number | boolean | null>;

/** The reason why the server refused a field. */
export interface Violation {
  /** The field, such as `"comment"`. */
  field: string;
  /** A code for programs, such as `"required"` or `"too_long"`. */
  code: string;
  /** A message for people, in English. */
  message: string;
}

/** The problem details of a response (RFC 9457); empty if the response has none. */
export interface Problem {
  /** For example `"urn:harken:problem:rejected"`. */
  type?: string;
  title?: string;
  status?: number;
  detail?: string;
  instance?: string;
  violations?: Violation[];
}

/** A request that failed: refused by the server, or without a response. */
export declare class HarkenError extends Error {
  constructor(status: number, problem: Problem, retryAfter?: number);
  readonly name: "HarkenError";
  /** The HTTP status; 0 if there was no response. */
  readonly status: number;
  readonly problem: Problem;
  readonly violations: Violation[];
  /** The seconds after which the server allows another attempt. */
  readonly retryAfter: number | undefined;
}

/** What the client waits for before it sends a request again. */
export interface Wait {
  /** Why the last attempt failed. */
  error: HarkenError;
  /** The seconds until the next attempt; `Infinity` while the browser is offline. */
  seconds: number;
  offline: boolean;
}

export interface ClientOptions {
  /** Where Harken is served, such as `https://feedback.example.com`. By default, the folder of this module. */
  endpoint?: string | URL;
  /** A session token. */
  token?: string;
  /** The session. By default, that of the token. */
  session?: string;
  /** Returns a new token when the server refuses the token. */
  renew?: () => Promise<string | undefined> | string | undefined;
  /** The seconds to wait for a response; 15 by default. */
  timeout?: number;
}

export interface RequestOptions {
  /** The session, if it is not that of the client. */
  session?: string;
  /** The idempotency key. By default, each call has its own. Attempts of one call have the same key. */
  key?: string;
  /** Ends waiting for the next attempt. A request that was sent is not cancelled, as its outcome would be unknown. */
  signal?: AbortSignal;
  /** Called before each further attempt. */
  onwait?: (wait: Wait) => void;
}

export interface MessageOptions extends RequestOptions {
  /** The message. Without it, the feedback is about the session. */
  message?: string;
}

export interface CommentOptions extends MessageOptions {
  /** The reasons, such as `["slow"]`. */
  tags?: readonly string[];
  /** The id of the agent that answered. */
  agent?: string;
  context?: Context;
}

export interface VoteOptions extends CommentOptions {
  comment?: string;
}

/** Confirms that feedback is stored. */
export interface Receipt {
  status: "success";
  message: string;
  feedback_id: string;
  version: number;
  /** The operator's reply, if a reply rule matches. */
  reply?: string;
  /** Set if a moderator has to decide first. */
  moderation?: "pending";
  /** Set if the server had stored the same request before: a vote may have been replaced since. */
  replayed?: true;
}

/** A stored vote. */
export interface Vote {
  feedback_id: string;
  /** `null` for the vote on the session. */
  message_id: string | null;
  rating: Rating;
  comment: string;
  tags: string[];
  /** The operator's reply. */
  reply: string | null;
  version: number;
  /** The time of the last change, as ISO 8601 in UTC. */
  updated_at: string;
}

/**
 * Votes and comments of one author in one session.
 *
 * Requests that are refused for a time or get no response are sent again after 1, 4 and 15 seconds, or when the server
 * says, with the same idempotency key. All methods reject with `HarkenError` if the server refuses the request, or if
 * no attempt succeeds, and with `TypeError` if there is no valid session or message.
 */
export declare class HarkenClient {
  constructor(options?: ClientOptions);
  endpoint: string | URL;
  token: string | undefined;
  session: string | undefined;
  renew: ClientOptions["renew"];
  timeout: number | undefined;

  /** Sets the author's one vote on a message, or on the session if there is no `message`. */
  vote(rating: Rating, options?: VoteOptions): Promise<Receipt>;

  /** Withdraws the vote on a message, or on the session. Without a vote, nothing happens. */
  withdraw(options?: MessageOptions): Promise<void>;

  /** Submits words without a thumb. Each call adds an entry; votes are not affected. */
  comment(comment: string, options?: CommentOptions): Promise<Receipt>;

  /** The author's votes in the session that are not withdrawn, oldest first. */
  votes(options?: RequestOptions): Promise<Vote[]>;
}
