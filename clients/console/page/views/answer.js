/** One question with its answer, the sources under it, and what can be done with them. */

import { curl, markdown } from "../asking/copies.js";
import { announce, button, el, fill, offer, write } from "../dom.js";
import { count } from "../format.js";
import { strings } from "../strings.js";
import { openPlace } from "./place.js";

/** @typedef {import("../asking/entries.js").Entry} Entry */
/** @typedef {import("../api/types.js").Source} Source */

const EXCERPT_CHARACTERS = 240;
const texts = strings.questions;

export class AnswerCard {
  #stop = new AbortController();
  #text = el("p", { class: "text" });
  #note = el("p", { class: "note" });
  #sources = el("div", { class: "sources" });
  #actions = el("div", { class: "buttons" });
  #shown = "";
  #session;
  #entry;
  #do;

  /**
   * @param {string} session
   * @param {Entry} entry
   * @param {{again: (entry: Entry) => void, clear: (entry: Entry) => void}} actions
   */
  constructor(session, entry, actions) {
    this.#session = session;
    this.#entry = entry;
    this.#do = actions;
    this.element = el("li", {}, el("h3", {}, entry.question), this.#text, this.#note, this.#sources, this.#actions);
    this.show("");
  }

  /** Aborted when the user stops the answer. */
  get stopped() {
    return this.#stop.signal;
  }

  /** @param {string} unread a sentence where text is still to be read */
  show(unread) {
    const { state, text, answer, error } = this.#entry;
    const missing = answer?.found === false;
    write(this.#text, missing ? texts.notFound : text);
    const thinking = state === "asking" && !text ? unread || texts.thinking : "";
    const cut = answer?.finish_reason === "length" ? texts.cut : "";
    const stopped = state === "stopped" ? texts.stopped : "";
    write(this.#note, error || thinking || stopped || (missing ? texts.notFoundExplained : cut));
    if (state === this.#shown) return;
    this.#shown = state;
    this.element.className = missing ? "answered missing" : state;
    this.#offer();
    this.#showSources(answer?.sources ?? [], missing);
  }

  #offer() {
    const { state } = this.#entry;
    const quiet = { class: "quiet" };
    const clear = button(texts.clear, () => this.#do.clear(this.#entry), quiet);
    if (state === "asking" || state === "waiting")
      offer(
        this.#actions,
        button(texts.stop, () => this.#stop.abort()),
      );
    else if (state === "answered") {
      offer(
        this.#actions,
        button(texts.copyMarkdown, () => copy(markdown(this.#entry)), quiet),
        button(texts.copyCurl, () => copy(curl(this.#session, this.#entry)), quiet),
        clear,
      );
    } else
      offer(
        this.#actions,
        button(texts.again, () => this.#do.again(this.#entry)),
        clear,
      );
  }

  /**
   * @param {Source[]} sources
   * @param {boolean} missing
   */
  #showSources(sources, missing) {
    if (!sources.length) return fill(this.#sources);
    const items = sources.map((source, index) => el("li", {}, this.#source(source, index + 1)));
    fill(this.#sources, el("h4", {}, missing ? texts.nearest : texts.sources), el("ol", {}, ...items));
  }

  /**
   * @param {Source} source
   * @param {number} number
   */
  #source(source, number) {
    const where = [source.document, texts.at(count(source.offset))].filter(Boolean).join(", ");
    const open = () => openPlace(this.#session, source);
    return el(
      "button",
      { type: "button", class: "source", onclick: open },
      el("span", { class: "where" }, `${texts.source(number)}: ${where}`),
      el("span", { class: "excerpt" }, excerpt(source.text)),
    );
  }
}

/** @param {string} text */
function excerpt(text) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > EXCERPT_CHARACTERS ? `${line.slice(0, EXCERPT_CHARACTERS).trimEnd()}…` : line;
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    announce(texts.copied);
  } catch {
    announce(texts.notCopied);
  }
}
