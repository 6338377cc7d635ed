/** The browser client of Harken: votes and comments of one author in one session, without a user interface. */

import { FOLDER, HarkenError, claimsOf, pathOf, send } from "./requests.js";

export { HarkenError };

export class HarkenClient {
  /**
   * @param {object} options
   * @param {string | URL} [options.endpoint] where Harken is served; by default, the folder of this module
   * @param {string} [options.token] a session token
   * @param {string} [options.session] the session; by default, that of the token
   * @param {() => Promise<string | undefined>} [options.renew] returns a new token when the server refuses the token
   * @param {number} [options.timeout] the seconds to wait for a response
   */
  constructor({ endpoint = FOLDER, token, session, renew, timeout } = {}) {
    Object.assign(this, { endpoint, token, session, renew, timeout });
  }

  /** Sets the author's one vote on a message, or on the session if there is no `message`. */
  vote(rating, { session, message, comment, tags, agent, context, ...options } = {}) {
    const body = { rating, comment, tags, agent_id: agent, context };
    return send(this, "PUT", this.#path(session, message), options, body);
  }

  /** Withdraws the vote on a message, or on the session. Without a vote, nothing happens. */
  async withdraw({ session, message, ...options } = {}) {
    await send(this, "DELETE", this.#path(session, message), options);
  }

  /** Submits words without a thumb. Each call adds an entry; votes are not affected. */
  comment(comment, { session, message, tags, agent, context, ...options } = {}) {
    const body = { rating: null, comment, message_id: message, tags, agent_id: agent, context };
    return send(this, "POST", this.#path(session), options, body);
  }

  /** The author's votes in the session that are not withdrawn, oldest first. */
  async votes({ session, ...options } = {}) {
    return (await send(this, "GET", this.#path(session).replace(/feedback$/, "votes"), options)).votes;
  }

  #path(session = this.session ?? claimsOf(this.token).session, message) {
    return pathOf(session, message);
  }
}
