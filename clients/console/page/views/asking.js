/** The questions of a session: the form, and below it what was asked, the latest first. */

import { follow } from "../asking/asked.js";
import { loadEntries, saveEntries } from "../asking/entries.js";
import { announce, el, fill } from "../dom.js";
import { percent } from "../format.js";
import { strings } from "../strings.js";
import { AnswerCard } from "./answer.js";

/** @typedef {import("../api/types.js").Session} Session */
/** @typedef {import("../asking/entries.js").Entry} Entry */

const texts = strings.questions;

export class Asking {
  /** @type {Map<Entry, AnswerCard>} */
  #cards = new Map();
  #stopped = new AbortController();
  #list = el("ol", { class: "answers", reversed: true });
  #session;
  #asked;
  #entries;
  #unread = "";
  #input = el("textarea", {
    rows: 2,
    required: true,
    placeholder: texts.placeholder,
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#form.requestSubmit();
    },
  });
  #form = el(
    "form",
    { onsubmit: (/** @type {SubmitEvent} */ event) => this.#submitted(event) },
    el("label", { class: "field" }, texts.label, this.#input),
    el("button", { type: "submit", class: "primary" }, texts.ask),
  );

  /**
   * @param {string} session
   * @param {() => void} asked is called at each question: how far the reading is concerns it from then on
   */
  constructor(session, asked) {
    this.#session = session;
    this.#asked = asked;
    this.#entries = loadEntries(session);
    this.element = el(
      "section",
      { class: "asking", "aria-labelledby": "asking" },
      el("h2", { id: "asking" }, texts.heading),
      this.#form,
      this.#list,
    );
    this.#show();
  }

  close() {
    this.#stopped.abort();
  }

  /** @param {Session} session */
  show({ status, text }) {
    this.#unread = status === "reading" ? texts.unread(percent(text.read_bytes, text.accepted_bytes)) : "";
    this.#input.placeholder = text.accepted_bytes ? texts.placeholder : texts.nothing;
    for (const card of this.#cards.values()) card.show(this.#unread);
  }

  /** @param {SubmitEvent} event */
  #submitted(event) {
    event.preventDefault();
    const question = this.#input.value.trim();
    if (!question) return;
    this.#input.value = "";
    void this.#ask(question);
  }

  /** @param {string} question */
  #ask(question) {
    /** @type {Entry} */
    const entry = { question, state: "asking", text: "", answer: null, error: "" };
    this.#entries.push(entry);
    return this.#follow(entry);
  }

  /** @param {Entry} entry */
  #askAgain(entry) {
    this.#cards.delete(entry);
    return this.#follow(Object.assign(entry, { state: "asking", answer: null }));
  }

  /** @param {Entry} entry */
  async #follow(entry) {
    this.#show();
    saveEntries(this.#session, this.#entries);
    this.#asked();
    const card = /** @type {AnswerCard} */ (this.#cards.get(entry));
    const signal = AbortSignal.any([this.#stopped.signal, card.stopped]);
    await follow(this.#session, entry, () => card.show(this.#unread), signal);
    saveEntries(this.#session, this.#entries);
    announce(entry.answer?.found === false ? texts.notFound : entry.text || entry.error);
  }

  #show() {
    const actions = {
      again: (/** @type {Entry} */ entry) => void this.#askAgain(entry),
      clear: (/** @type {Entry} */ entry) => this.#clear(entry),
    };
    const card = (/** @type {Entry} */ entry) =>
      this.#cards.get(entry) ?? new AnswerCard(this.#session, entry, actions);
    this.#cards = new Map(this.#entries.map((entry) => [entry, card(entry)]));
    fill(this.#list, ...Array.from(this.#cards.values(), ({ element }) => element).reverse());
  }

  /** @param {Entry} entry */
  #clear(entry) {
    this.#entries.splice(this.#entries.indexOf(entry), 1);
    saveEntries(this.#session, this.#entries);
    this.#show();
  }
}
