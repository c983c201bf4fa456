/** One text on its way into a session: sent in pieces by offset, each of which the server makes durable. */

import { connection } from "../api/connection.js";
import { ApiError, Unreachable } from "../api/http.js";
import { pause } from "../api/pause.js";
import { append, extract } from "../api/text.js";
import { get } from "../api/sessions.js";
import { strings } from "../strings.js";
import { keep, forget, progressed } from "./unfinished.js";

export const PIECE_BYTES = 1024 * 1024;

let begun = 0;

/** @typedef {"queued" | "extracting" | "sending" | "paused" | "waiting" | "missing" | "sent" | "failed" | "cancelled"} State */

/**
 * `change` events follow every change. States: `waiting` for a server that is gone (`connection`) or busy (`error`);
 * `missing` until the file is chosen again; `sent` when all of it is durable.
 */
export class Upload extends EventTarget {
  /** @type {State} */
  state = "queued";
  /** @type {Error | null} */
  error = null;
  #running = false;
  #stop = new AbortController();
  /** @type {(() => void) | null} */
  #resume = null;

  /** @param {import("./unfinished.js").Unfinished} of */
  constructor(of) {
    super();
    this.of = of;
    if (of.text === null) this.state = "missing";
  }

  /**
   * @param {string} session
   * @param {string} document
   * @param {Blob} text
   * @param {boolean} [extract] whether the server is to extract the text of a file first
   */
  static begin(session, document, text, extract = false) {
    // In the order of their keys, which uploads of the same millisecond have too.
    const key = `${String(Date.now()).padStart(15, "0")}-${String((begun += 1)).padStart(9, "0")}-${Math.random()}`;
    const modified = text instanceof File ? text.lastModified : 0;
    return new Upload({ key, session, document, extract, start: -1, size: text.size, modified, sent: 0, text });
  }

  /** Whether nothing more will happen to it. */
  get over() {
    return this.state === "sent" || this.state === "failed" || this.state === "cancelled";
  }

  /** Sends what is left; resolves when it is over. */
  async run() {
    this.#running = true;
    try {
      if (this.of.extract) await this.#extract();
      while (this.of.sent < this.of.size) {
        if (this.of.start < 0) await this.#begin();
        await this.#attempt();
      }
      this.#become("sent");
      await forget(this.of.key);
    } catch (error) {
      if (this.state === "cancelled") return;
      this.error = /** @type {Error} */ (error);
      this.#become("failed");
      await forget(this.of.key);
    }
  }

  /**
   * Refuses it before anything is sent.
   *
   * @param {string} reason
   */
  refuse(reason) {
    this.error = new Error(reason);
    this.#become("failed");
  }

  pause() {
    if (!this.over && this.state !== "missing") this.#become("paused");
  }

  resume() {
    if (this.state !== "paused") return;
    this.#become(this.#running ? "sending" : "queued");
    this.#resume?.();
  }

  /** What was sent stays in the session. */
  async cancel() {
    this.#become("cancelled");
    this.#stop.abort();
    this.#resume?.();
    await forget(this.of.key);
  }

  /**
   * Goes on with the file, which was chosen again; false where it is another one.
   *
   * @param {File} file
   */
  choose(file) {
    if (file.size !== this.of.size || file.lastModified !== this.of.modified) return false;
    this.of.text = file;
    this.#become("queued");
    return true;
  }

  async #extract() {
    await this.#retried(async () => {
      this.#become("extracting");
      const text = await extract(/** @type {Blob} */ (this.of.text), this.of.document, this.#stop.signal);
      Object.assign(this.of, { text, size: text.size, modified: 0, extract: false });
    });
    await keep(this.of);
    if (this.of.size === 0) throw new Error(strings.uploads.nothingExtracted);
  }

  async #begin() {
    await this.#retried(async () => {
      const session = await get(this.of.session, this.#stop.signal);
      const accepted = session.text.accepted_bytes;
      // What is left goes to the end of the session; a session that was restored since may lack the beginning.
      if (this.of.sent > accepted) this.of.sent = 0;
      this.of.start = accepted - this.of.sent;
    });
    await progressed(this.of);
  }

  async #attempt() {
    const { session, document, start, sent } = this.of;
    const text = /** @type {Blob} */ (this.of.text);
    await this.#retried(async () => {
      const piece = await pieceOf(text, sent);
      await append(session, start + sent, piece, document, this.#stop.signal);
      this.of.sent = sent + piece.size;
    });
    await progressed(this.of);
    this.dispatchEvent(new Event("change"));
  }

  /**
   * Does what may be done twice until the server has answered.
   *
   * @param {() => Promise<void>} action
   */
  async #retried(action) {
    for (;;) {
      await this.#unpaused();
      this.#become("sending");
      try {
        return await action();
      } catch (error) {
        if (!(error instanceof Unreachable || (error instanceof ApiError && error.temporary))) {
          if (!this.#wentBack(error)) throw error;
          return;
        }
        this.error = error;
        if (this.state !== "paused") this.#become("waiting");
        if (error instanceof Unreachable) await connection.back(this.#stop.signal);
        else await pause(1000 * (error.retryAfterSeconds ?? 1), this.#stop.signal);
        this.error = null;
      }
    }
  }

  /**
   * Whether sending goes on from another offset: a store that was restored from a copy has less of this text than was
   * sent; before the first piece, somebody else has appended.
   *
   * @param {unknown} error
   */
  #wentBack(error) {
    if (!(error instanceof ApiError)) return false;
    if (error.code === "content_conflict" && this.of.sent === 0) {
      this.of.start = -1;
      return true;
    }
    if (error.code !== "offset_mismatch") return false;
    const has = (error.expectedOffset ?? -1) - this.of.start;
    if (has < 0 || has >= this.of.sent) return false;
    this.of.sent = has;
    return true;
  }

  async #unpaused() {
    while (this.state === "paused") await new Promise((resolve) => (this.#resume = () => resolve(undefined)));
    this.#stop.signal.throwIfAborted();
  }

  /** @param {State} state */
  #become(state) {
    if (this.state === state || this.state === "cancelled") return;
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * The next piece of a text, which the browser reads as it sends it: its bytes are never in this tab. Its last bytes are
 * read here; an error then is the file's, and not the connection's. It ends with a whole character, so that another
 * text can follow if this one is stopped there.
 *
 * @param {Blob} text
 * @param {number} from
 */
export async function pieceOf(text, from) {
  const end = Math.min(from + PIECE_BYTES, text.size);
  const last = new Uint8Array(await text.slice(Math.max(from, end - 4), end).arrayBuffer());
  return text.slice(from, end < text.size ? end - unfinishedBytes(last) : end);
}

/**
 * How many bytes at the end are the beginning of a character in UTF-8.
 *
 * @param {Uint8Array} last at least four bytes
 */
function unfinishedBytes(last) {
  for (let back = 1; back <= 3; back += 1) {
    const byte = last[last.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}
