/** What the server says of one session, again and again: often while it reads, seldom while nothing happens. */

import { connection } from "../api/connection.js";
import { ApiError, Unreachable } from "../api/http.js";
import { pause } from "../api/pause.js";
import { get } from "../api/sessions.js";

const BUSY_MILLISECONDS = 700;
const IDLE_MILLISECONDS = 10_000;

/** `change` events follow a new `session`; `missing` says that there is none any more. */
export class Watch extends EventTarget {
  #ended = new AbortController();
  /** @type {AbortController | null} */
  #idle = null;
  #queue;

  /**
   * @param {import("../api/types.js").Session} session
   * @param {import("../reading/queue.js").Queue} queue
   */
  constructor(session, queue) {
    super();
    this.session = session;
    this.#queue = queue;
    queue.addEventListener("change", this.look);
    document.addEventListener("visibilitychange", this.look);
    void this.#run();
  }

  close() {
    this.#ended.abort();
    this.#queue.removeEventListener("change", this.look);
    document.removeEventListener("visibilitychange", this.look);
    this.look();
  }

  /** @param {import("../api/types.js").Session} session */
  show(session) {
    this.session = session;
    this.dispatchEvent(new Event("change"));
    this.look();
  }

  /** Asks the server now, rather than at the end of an idle pause. */
  look = () => this.#idle?.abort();

  get #busy() {
    return this.session.status === "reading" || this.#queue.active;
  }

  async #run() {
    while (!this.#ended.signal.aborted) {
      this.#idle = this.#busy ? null : new AbortController();
      const milliseconds = this.#busy ? BUSY_MILLISECONDS : IDLE_MILLISECONDS;
      await pause(milliseconds, this.#idle?.signal).catch(() => undefined);
      if (document.hidden && !this.#busy) continue;
      try {
        this.session = await get(this.session.id, this.#ended.signal, true);
        this.dispatchEvent(new Event("change"));
      } catch (error) {
        if (error instanceof Unreachable) await connection.back(this.#ended.signal).catch(() => undefined);
        else if (error instanceof ApiError && (error.status === 404 || error.status === 410)) {
          if (!this.#ended.signal.aborted) this.dispatchEvent(new Event("missing"));
          return;
        }
      }
    }
  }
}
