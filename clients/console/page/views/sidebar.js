/** The list of sessions: search, create, and choose one. */

import { create, list, upload } from "../api/sessions.js";
import { button, el, fill, must, write } from "../dom.js";
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
  /** @type {Map<string, SessionItem>} */
  #items = new Map();
  #list = el("ul", { class: "sessions" });
  #hint = el("p", { class: "hint" });
  #more = button(strings.sessions.more, () => this.#loadMore(), { class: "quiet", hidden: true });
  #search = el("input", {
    type: "search",
    placeholder: strings.sessions.search,
    "aria-label": strings.sessions.search,
    oninput: () => this.#searched(),
  });

  constructor() {
    const file = el("input", {
      type: "file",
      accept: ".safetensors",
      hidden: true,
      onchange: () => this.#uploaded(file),
    });
    const nav = must("sidebar");
    nav.setAttribute("aria-label", strings.sessions.heading);
    fill(
      nav,
      button(strings.sessions.create, () => this.#create(), { class: "primary" }),
      this.#search,
      this.#list,
      this.#hint,
      this.#more,
      button(strings.sessions.openFile, () => file.click(), { class: "quiet" }),
      file,
    );
  }

  /**
   * Loads the list again, as far as it was loaded.
   *
   * @param {boolean} [background]
   */
  async refresh(background) {
    const wanted = this.#sessions.length;
    const current = this.#sessions.find(({ id }) => id === this.#current);
    /** @type {Session[]} */
    const found = [];
    let page = await list(null, background);
    found.push(...page.data);
    while (page.has_more && found.length < wanted) {
      page = await list(page.last_id, background);
      found.push(...page.data);
    }
    // One that was opened by its address may stand behind what is loaded.
    if (current && page.has_more && !found.some(({ id }) => id === current.id)) found.unshift(current);
    this.#sessions = found;
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
    const index = this.#sessions.findIndex(({ id }) => id === session.id);
    if (index >= 0) this.#sessions[index] = session;
    else this.#sessions.unshift(session);
    this.#show();
  }

  /**
   * Takes a session that was deleted off the list.
   *
   * @param {string} gone
   */
  remove(gone) {
    this.#sessions = this.#sessions.filter(({ id }) => id !== gone);
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
    const items = found.map((session) => this.#item(session));
    this.#more.hidden = this.#after === null;
    write(this.#hint, wanted ? strings.sessions.noMatch : strings.sessions.none);
    this.#hint.hidden = items.length > 0;
    // What stands as it should is left alone, so that the focus stays where it is.
    const { children } = this.#list;
    if (items.length !== children.length || items.some((item, index) => item !== children[index]))
      fill(this.#list, ...items);
  }

  /** @param {Session} session */
  #item(session) {
    const item = this.#items.get(session.id) ?? new SessionItem(session.id);
    this.#items.set(session.id, item);
    item.show(session, session.id === this.#current);
    return item.element;
  }
}

/** A line of the list. */
class SessionItem {
  #name = el("span", { class: "name" });
  #facts = el("span", { class: "facts" });
  #status = el("span");
  #link;

  /** @param {string} id */
  constructor(id) {
    this.#link = el("a", { href: addressOf(id) }, this.#name, this.#facts, this.#status);
    this.element = el("li", {}, this.#link);
  }

  /**
   * @param {Session} session
   * @param {boolean} current
   */
  show(session, current) {
    const { accepted_bytes, tokens } = session.text;
    if (current) this.#link.setAttribute("aria-current", "page");
    else this.#link.removeAttribute("aria-current");
    write(this.#name, titleOf(session));
    write(this.#facts, strings.sessions.size(bytes(accepted_bytes), shortCount(tokens)));
    this.#status.className = `status ${session.status}`;
    write(this.#status, session.status === "idle" ? "" : strings.sessions[session.status]);
  }
}
