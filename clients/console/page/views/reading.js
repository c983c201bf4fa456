/** The text of a session: where files are dropped and text is pasted, and how far each of them is. */

import { version } from "../api/server.js";
import { button, el, fill, write } from "../dom.js";
import { bytes, duration } from "../format.js";
import { Rate } from "../reading/rate.js";
import { strings } from "../strings.js";
import { attempt, open } from "./dialogs.js";
import { UploadRow } from "./upload_row.js";

/** @typedef {import("../api/types.js").Session} Session */
/** @typedef {import("../reading/upload.js").Upload} Upload */

export class Reading {
  /** @type {Map<Upload, UploadRow>} */
  #rows = new Map();
  /** @type {Session | null} */
  #session = null;
  #bytes = new Rate();
  #tokens = new Rate();
  #queue;
  #list = el("ul", { class: "uploads" });
  #rest = el("p", { class: "state", hidden: true });
  #zone;
  #hint = el("p", { class: "hint" }, strings.uploads.plain);

  #name;

  /**
   * @param {import("../reading/queue.js").Queue} queue
   * @param {(title: string) => void} name gives a session without a title that of its first text
   */
  constructor(queue, name) {
    this.#queue = queue;
    this.#name = name;
    const texts = strings.uploads;
    const input = el("input", { type: "file", multiple: true, hidden: true, onchange: () => this.#chosen(input) });
    const zone = (this.#zone = el(
      "div",
      { class: "drop" },
      el("p", { class: "call" }, texts.drop),
      el(
        "div",
        { class: "buttons" },
        button(texts.choose, () => input.click(), { class: "primary" }),
        button(texts.paste, () => this.#paste()),
      ),
      this.#hint,
      input,
    ));
    this.#accept(zone);
    this.element = el(
      "section",
      { class: "reading", "aria-labelledby": "reading" },
      el("h2", { id: "reading" }, texts.heading),
      zone,
      this.#rest,
      this.#list,
    );
    queue.addEventListener("change", this.#changed);
    void this.#nameKinds();
    this.#changed();
  }

  close() {
    this.#queue.removeEventListener("change", this.#changed);
  }

  /** @param {Session} session */
  show(session) {
    this.#session = session;
    this.#zone.classList.toggle("compact", session.text.accepted_bytes > 0);
    this.#bytes.add(session.text.read_bytes);
    this.#tokens.add(session.text.tokens);
    this.#changed();
  }

  #changed = () => {
    const { uploads } = this.#queue;
    if (uploads.length !== this.#rows.size || uploads.some((upload) => !this.#rows.has(upload))) {
      this.#rows = new Map(
        uploads.map((upload) => [upload, this.#rows.get(upload) ?? new UploadRow(upload, this.#queue)]),
      );
      fill(this.#list, ...Array.from(this.#rows.values(), (row) => row.element));
    }
    for (const row of this.#rows.values()) row.show(this.#session, this.#bytes, this.#tokens);
    this.#showRest();
  };

  /** How far the reading of text is that no row stands for: it was sent before this page was opened, or elsewhere. */
  #showRest() {
    const { accepted_bytes, read_bytes } = this.#session?.text ?? { accepted_bytes: 0, read_bytes: 0 };
    this.#rest.hidden = read_bytes === accepted_bytes || this.#rows.size > 0;
    if (this.#rest.hidden) return;
    const left = this.#bytes.secondsFor(accepted_bytes - read_bytes);
    const parts = [strings.uploads.reading(bytes(read_bytes), bytes(accepted_bytes))];
    if (left !== null) parts.push(strings.uploads.left(duration(Math.max(1, left))));
    write(this.#rest, parts.join(" · "));
  }

  async #nameKinds() {
    // Without an answer the hint names plain text alone.
    const { extracts } = await version().catch(() => ({ extracts: [] }));
    const kinds = extracts.map((kind) => `.${kind}`).join(", ");
    if (kinds) fill(this.#hint, strings.uploads.kinds(kinds));
  }

  /**
   * Takes files that are dropped on it.
   *
   * @param {HTMLElement} zone
   */
  #accept(zone) {
    zone.addEventListener("dragenter", () => zone.classList.add("over"));
    zone.addEventListener("dragleave", (event) => {
      if (!zone.contains(/** @type {Node | null} */ (event.relatedTarget))) zone.classList.remove("over");
    });
    zone.addEventListener("dragover", (event) => event.preventDefault());
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      void this.#add(Array.from(event.dataTransfer?.files ?? []));
    });
  }

  /** @param {HTMLInputElement} input */
  #chosen(input) {
    const files = Array.from(input.files ?? []);
    input.value = "";
    void this.#add(files);
  }

  /** @param {File[]} files */
  #add(files) {
    const [first] = files;
    if (first) this.#name(first.name.replace(/\.\w+$/, ""));
    return attempt(strings.uploads.choose, () => this.#queue.add(files));
  }

  #paste() {
    const text = el("textarea", { rows: 12, required: true, autofocus: true });
    const submit = (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      this.#name(strings.uploads.pastedTitle);
      this.#queue.paste(text.value);
      dialog.close();
    };
    const buttons = el(
      "div",
      { class: "buttons" },
      button(strings.cancel, () => dialog.close()),
      el("button", { type: "submit", class: "primary" }, strings.uploads.pasteSend),
    );
    const form = el(
      "form",
      { onsubmit: submit },
      el("label", { class: "field" }, strings.uploads.pasteLabel, text),
      buttons,
    );
    const dialog = open(strings.uploads.paste, form);
  }
}
