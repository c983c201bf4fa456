/** Whether the server answers: since when it does not, and the moment when it does again. */

import { pause } from "./pause.js";

const PROBE_MILLISECONDS = 2000;

/** `change` events follow `goneSince`, the time in milliseconds since which the server has not answered, or null. */
class Connection extends EventTarget {
  /** @type {number | null} */
  goneSince = null;
  /** @type {Promise<void> | null} */
  #returned = null;

  /** A request had no answer. */
  failed() {
    if (this.goneSince !== null) return;
    this.goneSince = Date.now();
    this.#returned = this.#probe();
    this.dispatchEvent(new Event("change"));
  }

  /** A request was answered. */
  answered() {
    if (this.goneSince === null) return;
    this.goneSince = null;
    this.dispatchEvent(new Event("change"));
  }

  /**
   * Resolves when the server answers again.
   *
   * @param {AbortSignal} [signal]
   */
  async back(signal) {
    await Promise.race([this.#returned, aborted(signal)]);
    signal?.throwIfAborted();
  }

  async #probe() {
    while (this.goneSince !== null) {
      await pause(PROBE_MILLISECONDS);
      try {
        const response = await fetch("livez", { cache: "no-store", signal: AbortSignal.timeout(5000) });
        if (response.ok) this.answered();
      } catch {
        // Still gone: the loop goes on for as long as the page is open.
      }
    }
  }
}

export const connection = new Connection();

/**
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<void>}
 */
function aborted(signal) {
  return new Promise((resolve) => signal?.addEventListener("abort", () => resolve(), { once: true }));
}
