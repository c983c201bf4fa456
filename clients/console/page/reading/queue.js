/** The texts that are on their way into a session, one after another. */

import { ApiError } from "../api/http.js";
import { version } from "../api/server.js";
import { strings } from "../strings.js";
import { clock } from "../format.js";
import { decoded } from "./decoding.js";
import { forget, keep, unfinished } from "./unfinished.js";
import { Upload } from "./upload.js";

// Kinds that are no plain text: without an extractor the server can only refuse them.
const BINARY_KINDS = new Set(["docx", "epub", "pdf"]);
/** Other endings of the kinds that the server extracts. @type {Record<string, string>} */
const KIND_OF_ENDING = { htm: "html", xhtml: "html", markdown: "md" };
/** @type {Map<string, Queue>} */
const queues = new Map();

/** `change` events follow every change of it and of its uploads. */
export class Queue extends EventTarget {
  /** @type {Upload[]} */
  uploads = [];
  #running = false;
  // Those that the browser keeps, where other tabs find them.
  /** @type {Set<Upload>} */
  #kept = new Set();

  /** @param {string} session */
  constructor(session) {
    super();
    this.session = session;
  }

  /**
   * The queue of a session, which goes on while other sessions are looked at.
   *
   * @param {string} session
   */
  static of(session) {
    let queue = queues.get(session);
    if (!queue) {
      queue = new Queue(session);
      queues.set(session, queue);
      void queue.#recover();
    }
    return queue;
  }

  /** @param {Iterable<File>} files */
  async add(files) {
    const { extracts } = await version();
    await this.#send(Array.from(files, (file) => this.#of(file, extracts)));
  }

  /** @param {string} text */
  paste(text) {
    return this.#send([Upload.begin(this.session, strings.uploads.pasted(clock(Date.now())), new Blob([text]))]);
  }

  /**
   * Sends a text that is not UTF-8 again, decoded.
   *
   * @param {Upload} failed
   * @param {string} encoding
   */
  async decode(failed, encoding) {
    const { session, document, text, start, sent } = failed.of;
    const upload = Upload.begin(session, document, await decoded(/** @type {Blob} */ (text), encoding));
    if (!this.uploads.includes(failed)) return;
    // What was accepted before the first sign beyond ASCII is the same in UTF-8; of a wide encoding nothing was. The
    // rest goes to the end of the session, where other texts may have come since.
    const accepted = failed.error instanceof ApiError ? (failed.error.expectedOffset ?? 0) - start : 0;
    upload.of.sent = encoding.startsWith("UTF-16") ? 0 : Math.max(sent, accepted);
    this.remove(failed);
    await this.#send([upload]);
  }

  /**
   * Goes on with a file that was chosen again; false where it is another one.
   *
   * @param {Upload} upload
   * @param {File} file
   */
  choose(upload, file) {
    const same = upload.choose(file);
    if (same) void this.#run();
    return same;
  }

  /** @param {Upload} upload */
  remove(upload) {
    void upload.cancel();
    this.#kept.delete(upload);
    this.uploads = this.uploads.filter((other) => other !== upload);
    this.#changed();
  }

  /** Stops all of them; the session is gone. */
  clear() {
    for (const upload of this.uploads) this.remove(upload);
    queues.delete(this.session);
  }

  /** Whether a text is on its way. */
  get active() {
    return this.#next() !== undefined;
  }

  /**
   * @param {File} file
   * @param {string[]} extracts
   */
  #of(file, extracts) {
    const ending = file.name.split(".").pop()?.toLowerCase() ?? "";
    const kind = KIND_OF_ENDING[ending] ?? ending;
    const upload = Upload.begin(this.session, file.name, file, extracts.includes(kind));
    if (file.size === 0) upload.refuse(strings.uploads.empty);
    else if (BINARY_KINDS.has(kind) && !extracts.includes(kind)) upload.refuse(strings.uploads.noExtractor(kind));
    return upload;
  }

  /** @param {Upload[]} uploads */
  async #send(uploads) {
    for (const upload of uploads) this.#push(upload);
    for (const upload of uploads) {
      if (upload.over) continue;
      if (await keep(upload.of)) this.#kept.add(upload);
      // It may have been removed meanwhile.
      if (upload.over) await forget(upload.of.key);
    }
    void this.#run();
  }

  /** @param {Upload} upload */
  #push(upload) {
    upload.addEventListener("change", () => this.#changed());
    this.uploads.push(upload);
    this.#changed();
  }

  async #recover() {
    for (const of of await unfinished(this.session).catch(() => [])) {
      const upload = new Upload(of);
      this.#kept.add(upload);
      this.#push(upload);
    }
    await this.#run();
  }

  async #run() {
    if (this.#running || !this.active) return;
    this.#running = true;
    await alone(this.session, async () => {
      await this.#catchUp();
      for (let next = this.#next(); next; next = this.#next()) await next.run();
    });
    this.#running = false;
  }

  /** Takes over what another tab has sent of the same uploads. */
  async #catchUp() {
    const found = await unfinished(this.session).catch(() => null);
    if (!found) return;
    const left = new Map(found.map((of) => [of.key, of]));
    for (const upload of this.#kept) {
      const of = left.get(upload.of.key);
      if (of) Object.assign(upload.of, of, { text: of.text ?? upload.of.text });
      else if (!upload.over) this.remove(upload);
    }
  }

  #next() {
    return this.uploads.find((upload) => !upload.over && upload.state !== "missing");
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * Does something while no other tab does it for the same session. Browsers have locks only for pages from the loopback
 * or over TLS.
 *
 * @param {string} session
 * @param {() => Promise<void>} action
 */
const alone = (session, action) => navigator.locks?.request(`onceread-upload-${session}`, action) ?? action();
