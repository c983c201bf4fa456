/** The texts that are on their way into a session, one after another. */

import { version } from "../api/server.js";
import { strings } from "../strings.js";
import { clock } from "../format.js";
import { decoded } from "./decoding.js";
import { keep, unfinished } from "./unfinished.js";
import { Upload } from "./upload.js";

// Kinds that are no plain text: without an extractor the server can only refuse them.
const BINARY_KINDS = new Set(["docx", "epub", "pdf"]);
/** @type {Map<string, Queue>} */
const queues = new Map();

/** `change` events follow every change of it and of its uploads. */
export class Queue extends EventTarget {
  /** @type {Upload[]} */
  uploads = [];
  #running = false;

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
    // What was accepted before the first sign beyond ASCII is the same in UTF-8; of a wide encoding nothing was.
    Object.assign(upload.of, { start, sent });
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
    const kind = file.name.split(".").pop()?.toLowerCase() ?? "";
    const upload = Upload.begin(this.session, file.name, file, extracts.includes(kind));
    if (file.size === 0) upload.refuse(strings.uploads.empty);
    else if (BINARY_KINDS.has(kind) && !extracts.includes(kind)) upload.refuse(strings.uploads.noExtractor(kind));
    return upload;
  }

  /** @param {Upload[]} uploads */
  async #send(uploads) {
    for (const upload of uploads) this.#push(upload);
    for (const upload of uploads) if (!upload.over) await keep(upload.of);
    void this.#run();
  }

  /** @param {Upload} upload */
  #push(upload) {
    upload.addEventListener("change", () => this.#changed());
    this.uploads.push(upload);
    this.#changed();
  }

  async #recover() {
    for (const of of await unfinished(this.session)) this.#push(new Upload(of));
    await this.#run();
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    for (let next = this.#next(); next; next = this.#next()) await next.run();
    this.#running = false;
  }

  #next() {
    return this.uploads.find((upload) => !upload.over && upload.state !== "missing");
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
