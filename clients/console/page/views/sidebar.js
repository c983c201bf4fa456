/** The list of sessions: search, create, and choose one. */

import { create, list, upload } from "../api/sessions.js";
import { button, el, fill, must } from "../dom.js";
import { bytes, shortCount } from "../format.js";
import { strings } from "../strings.js";
import { attempt } from "./dialogs.js";

/** @typedef {import("../api/types.js").Session} Session */

// So many are searched; a tenant with more finds a session by its id in the address.
const SESSIONS_MAX = 2000;

/** @param {Session} session */
export const titleOf = (session) => session.metadata.title || strings.session.untitled;
/** @param {string} id */
export const addressOf = (id) => `#/sessions/${id}`;

export class Sidebar {
  /** @type {Session[]} */
  #sessions = [];
  /** @type {string | null} */
  #after = null;
  /** @type {string | null} */
  #current = null;
  #items = el("ul", { class: "sessions" });
  #more = button(strings.sessions.more, () => this.#loadMore(), { class: "quiet", hidden: true });
  #search = el("input", {
    type: "search",
    placeholder: strings.sessions.search,
    "aria-label": strings.sessions.search,
    oninput: () => this.#searched(),
  });

  constructor() {
    const file = el("input", { type: "file", accept: ".safetensors", hidden: true, onchange: () => this.#uploaded(file) });
    const nav = must("sidebar");
    nav.setAttribute("aria-label", strings.sessions.heading);
    fill(
      nav,
      button(strings.sessions.create, () => this.#create(), { class: "primary" }),
      this.#search,
      this.#items,
      this.#more,
      button(strings.sessions.openFile, () => file.click(), { class: "quiet" }),
      file,
    );
  }

  /** Loads the first page of the list again. */
  async refresh() {
    const page = await list(null);
    this.#sessions = page.data;
    this.#after = page.has_more ? page.last_id : null;
    this.#show();
  }

  /**
   * Marks a session as the one that is looked at.
   *
   * @param {string | null} id
   */
  choose(id) {
    this.#current = id;
    this.#show();
  }

  /**
   * Shows what is newly known of a session.
   *
   * @param {Session} session
   */
  update(session) {
    const index = this.#sessions.findIndex((other) => other.id === session.id);
    if (index >= 0) this.#sessions[index] = session;
    else this.#sessions.unshift(session);
    this.#show();
  }

  async #create() {
    await attempt(strings.sessions.create, async () => {
      const session = await create("");
      this.update(session);
      location.hash = addressOf(session.id);
    });
  }

  /** @param {HTMLInputElement} input */
  async #uploaded(input) {
    const file = input.files?.[0];
    input.value = "";
    if (!file) return;
    await attempt(strings.sessions.uploadedMemory, async () => {
      const session = await upload(file);
      this.update(session);
      location.hash = addressOf(session.id);
    });
  }

  async #loadMore() {
    const page = await list(this.#after);
    this.#sessions.push(...page.data);
    this.#after = page.has_more ? page.last_id : null;
    this.#show();
  }

  async #searched() {
    this.#show();
    while (this.#search.value && this.#after && this.#sessions.length < SESSIONS_MAX) await this.#loadMore();
  }

  #show() {
    const wanted = this.#search.value.trim().toLowerCase();
    const found = this.#sessions.filter((s) => `${titleOf(s)} ${s.id}`.toLowerCase().includes(wanted));
    this.#more.hidden = this.#after === null;
    if (found.length) fill(this.#items, ...found.map((session) => this.#item(session)));
    else fill(this.#items, el("li", { class: "hint" }, wanted ? strings.sessions.noMatch : strings.sessions.none));
  }

  /** @param {Session} session */
  #item(session) {
    const { accepted_bytes, tokens } = session.text;
    const current = session.id === this.#current ? "page" : null;
    const status = session.status === "idle" ? null : strings.sessions[session.status];
    return el(
      "li",
      {},
      el(
        "a",
        { href: addressOf(session.id), "aria-current": current },
        el("span", { class: "name" }, titleOf(session)),
        el("span", { class: "facts" }, strings.sessions.size(bytes(accepted_bytes), shortCount(tokens))),
        status && el("span", { class: `status ${session.status}` }, status),
      ),
    );
  }
}
