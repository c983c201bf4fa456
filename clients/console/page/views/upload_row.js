/** One text on its way: its bar, how fast it is read, and what can be done about it. */

import { connection } from "../api/connection.js";
import { ApiError, Unreachable } from "../api/http.js";
import { announce, button, el, offer, write } from "../dom.js";
import { bytes, clock, duration, shortCount } from "../format.js";
import { isDecodable } from "../reading/decoding.js";
import { strings } from "../strings.js";
import { attempt } from "./dialogs.js";

/** @typedef {import("../api/types.js").Session} Session */
/** @typedef {import("../reading/rate.js").Rate} Rate */
/** @typedef {import("../reading/upload.js").Upload} Upload */

const texts = strings.uploads;
const INTERRUPTED = new Set(["content_conflict", "offset_mismatch"]);

export class UploadRow {
  #durable = el("div", { class: "durable" });
  #read = el("div", { class: "read" });
  #state = el("p", { class: "state" });
  #actions = el("div", { class: "buttons" });
  #shown = "";
  #finished = false;
  #otherFile = false;
  #upload;
  #queue;
  #bar;

  /**
   * @param {Upload} upload
   * @param {import("../reading/queue.js").Queue} queue
   */
  constructor(upload, queue) {
    this.#upload = upload;
    this.#queue = queue;
    const name = upload.of.document;
    const label = { role: "progressbar", "aria-label": texts.bar(name), "aria-valuemin": 0, "aria-valuemax": 100 };
    this.#bar = el("div", { class: "bar", ...label }, this.#durable, this.#read);
    this.element = el(
      "li",
      {},
      el("div", { class: "line" }, el("span", { class: "name" }, name), this.#actions),
      this.#bar,
      this.#state,
    );
  }

  /**
   * @param {Session | null} session
   * @param {Rate} readBytes
   * @param {Rate} readTokens
   */
  show(session, readBytes, readTokens) {
    const { start, size, sent } = this.#upload.of;
    const reached = session && start >= 0 ? session.text.read_bytes - start : 0;
    const read = Math.max(0, Math.min(reached, sent));
    this.#finished ||= this.#upload.state === "sent" && read === size;
    this.#draw(sent, this.#finished ? size : read, size);
    if (this.#finished) this.#finish(size);
    else write(this.#state, this.#sentence(sent, read, size, readBytes, readTokens));
    this.#offer();
  }

  /**
   * @param {number} sent
   * @param {number} read
   * @param {number} size
   */
  #draw(sent, read, size) {
    const share = (/** @type {number} */ part) => (size ? (100 * part) / size : 0);
    this.#durable.style.width = `${share(sent)}%`;
    this.#read.style.width = `${share(read)}%`;
    this.#bar.setAttribute("aria-valuenow", String(Math.floor(share(read))));
    this.#bar.hidden = this.#upload.state === "failed" && sent === 0;
    this.element.className = this.#finished ? "finished" : this.#upload.state;
  }

  /** @param {number} size */
  #finish(size) {
    if (this.#state.textContent !== texts.finished(bytes(size))) announce(texts.announced(this.#upload.of.document));
    write(this.#state, texts.finished(bytes(size)));
  }

  /**
   * @param {number} sent
   * @param {number} read
   * @param {number} size
   * @param {Rate} readBytes
   * @param {Rate} readTokens
   */
  #sentence(sent, read, size, readBytes, readTokens) {
    const { state, error } = this.#upload;
    if (state === "failed") return sentenceOf(error);
    if (state === "missing" && this.#otherFile) return texts.otherFile;
    if (state === "queued" || state === "extracting" || state === "missing") return texts[state];
    const left = readBytes.secondsFor(size - read);
    const parts = [texts.durable(bytes(sent), bytes(size)), texts.read(bytes(read))];
    if (state === "waiting") parts.unshift(waitOf(error));
    else if (state === "paused") parts.unshift(texts.paused);
    else if (readTokens.perSecond > 0) {
      parts.push(texts.speed(shortCount(readTokens.perSecond)));
      if (left !== null) parts.push(texts.left(duration(Math.max(1, left))));
    }
    return parts.join(" · ");
  }

  /** Shows the buttons for what can be done now. */
  #offer() {
    const { state, error } = this.#upload;
    const wanted = this.#finished ? "finished" : `${state} ${error instanceof ApiError ? error.code : ""}`;
    if (wanted === this.#shown) return;
    this.#shown = wanted;
    const remove = (/** @type {string} */ text) =>
      button(text, () => this.#queue.remove(this.#upload), { class: "quiet" });
    if (state === "failed") {
      const encoding = error instanceof ApiError ? error.encoding : undefined;
      const decode = () =>
        attempt(texts.decode(encoding ?? ""), () => this.#queue.decode(this.#upload, encoding ?? ""));
      offer(this.#actions, isDecodable(encoding) && button(texts.decode(encoding ?? ""), decode), remove(texts.remove));
    } else if (state === "missing") offer(this.#actions, this.#chooser(), remove(texts.remove));
    else if (state === "paused")
      offer(
        this.#actions,
        button(texts.resume, () => this.#upload.resume()),
        remove(texts.stop),
      );
    else if (state === "sent") offer(this.#actions, remove(texts.remove));
    else
      offer(
        this.#actions,
        button(texts.pause, () => this.#upload.pause()),
        remove(texts.stop),
      );
  }

  #chooser() {
    const choose = () => {
      const file = input.files?.[0];
      input.value = "";
      if (!file) return;
      this.#otherFile = !this.#queue.choose(this.#upload, file);
      if (this.#otherFile) write(this.#state, texts.otherFile);
    };
    const input = el("input", { type: "file", hidden: true, onchange: choose });
    return el(
      "span",
      {},
      button(texts.chooseAgain, () => input.click(), { class: "primary" }),
      input,
    );
  }
}

/** @param {Error | null} error why it waits */
function waitOf(error) {
  if (error instanceof Unreachable) return texts.waiting(clock(connection.goneSince ?? Date.now()));
  return texts.busy(error?.message ?? "");
}

/** @param {Error | null} error why it failed */
function sentenceOf(error) {
  if (error instanceof DOMException) return texts.unreadable;
  if (error instanceof ApiError && INTERRUPTED.has(error.code)) return texts.interrupted;
  if (error instanceof ApiError && error.code === "invalid_utf8") {
    return isDecodable(error.encoding)
      ? texts.encoded(error.encoding ?? "")
      : `${texts.noText} ${error.message.replace(/, and continue from expected_offset$/, "")}`;
  }
  return error?.message ?? "";
}
