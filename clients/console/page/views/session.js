/** One session: its heading with what can be done to it, its text, and its questions. */

import { download, fork, get, remove, rename } from "../api/sessions.js";
import { ApiError } from "../api/http.js";
import { announce, button, el, fill, must, write } from "../dom.js";
import { bytes, shortCount } from "../format.js";
import { Queue } from "../reading/queue.js";
import { forgetEntries } from "../asking/entries.js";
import { strings } from "../strings.js";
import { Asking } from "./asking.js";
import { attempt, consent, line } from "./dialogs.js";
import { Reading } from "./reading.js";
import { addressOf, titleOf } from "./sidebar.js";
import { openSnapshots } from "./snapshots.js";
import { Watch } from "./watch.js";

/** @typedef {import("../api/types.js").Session} Session */
/** @typedef {import("./sidebar.js").Sidebar} Sidebar */

export class SessionView {
  /** @type {Session} */
  #session;
  #named = false;
  #title = el("h1");
  #facts = el("p", { class: "facts" });
  #alert = el("p", { class: "error", role: "alert", hidden: true });

  /**
   * @param {Session} session
   * @param {Sidebar} sidebar
   */
  constructor(session, sidebar) {
    this.#session = session;
    this.#sidebar = sidebar;
    this.#queue = Queue.of(session.id);
    this.#watch = new Watch(session, this.#queue);
    this.#reading = new Reading(this.#queue, (title) => this.#name(title));
    this.#asking = new Asking(session.id, this.#watch.look);
    this.#watch.addEventListener("change", () => this.#show(this.#watch.session));
    this.#watch.addEventListener("missing", () => {
      sidebar.remove(session.id);
      showMissing();
    });
    fill(
      must("main"),
      el("a", { class: "back", href: "#/" }, strings.sessions.all),
      el("header", { class: "session" }, el("div", {}, this.#title, this.#facts), this.#actions()),
      this.#alert,
      this.#reading.element,
      this.#asking.element,
    );
    this.#show(session);
  }

  #sidebar;
  #queue;
  #watch;
  #reading;
  #asking;

  /** Ends what it does in the background; uploads go on. */
  close() {
    this.#watch.close();
    this.#reading.close();
    this.#asking.close();
  }

  #actions() {
    const texts = strings.session;
    return el(
      "div",
      { class: "actions", role: "group", "aria-label": texts.actions },
      button(texts.rename, () => this.#rename()),
      button(texts.fork, () => attempt(texts.fork, () => this.#fork())),
      button(texts.snapshots, () => openSnapshots(this.#session, (restored) => this.#watch.show(restored))),
      button(texts.download, () => attempt(texts.download, () => this.#download())),
      button(texts.remove, () => this.#remove(), { class: "danger" }),
    );
  }

  async #rename() {
    const texts = strings.session;
    const title = await line(texts.rename, texts.newTitle, this.#session.metadata.title ?? "", texts.save);
    if (title !== null) await attempt(texts.rename, async () => this.#watch.show(await rename(this.#session, title)));
  }

  /** @param {string} title for a session that has none */
  async #name(title) {
    if (this.#named || this.#session.metadata.title || !title) return;
    this.#named = true;
    await attempt(strings.session.rename, async () => this.#watch.show(await rename(this.#session, title)));
  }

  async #fork() {
    const copy = await fork(this.#session, strings.session.copyOf(titleOf(this.#session)));
    this.#sidebar.update(copy);
    announce(strings.session.forked);
    location.hash = addressOf(copy.id);
  }

  async #download() {
    const url = URL.createObjectURL(await download(this.#session.id));
    el("a", { href: url, download: `${titleOf(this.#session).replace(/[^\w.-]+/g, "-")}.safetensors` }).click();
    // The browser needs the address until it has begun to save.
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  async #remove() {
    const texts = strings.session;
    const title = titleOf(this.#session);
    if (!(await consent(texts.removeQuestion(title), texts.removeExplained, texts.remove))) return;
    await attempt(texts.remove, async () => {
      await remove(this.#session.id);
      this.#queue.clear();
      forgetEntries(this.#session.id);
      this.#sidebar.remove(this.#session.id);
      announce(texts.removed(title));
      location.hash = "#/";
    });
  }

  /** @param {Session} session */
  #show(session) {
    this.#session = session;
    this.#sidebar.update(session);
    document.title = `${titleOf(session)} · ${strings.title}`;
    const { accepted_bytes, tokens } = session.text;
    write(this.#title, titleOf(session));
    write(this.#facts, strings.session.facts(bytes(accepted_bytes), shortCount(tokens), bytes(session.memory.bytes)));
    this.#alert.hidden = session.status !== "quarantined";
    write(this.#alert, this.#alert.hidden ? "" : strings.session.quarantined);
    this.#reading.show(session);
    this.#asking.show(session);
  }
}

/**
 * The view of the session with an id; null where there is none, which is shown too.
 *
 * @param {string} id
 * @param {Sidebar} sidebar
 * @param {AbortSignal} signal
 */
export async function openSession(id, sidebar, signal) {
  try {
    const session = await get(id, signal);
    signal.throwIfAborted();
    return new SessionView(session, sidebar);
  } catch (error) {
    if (!(error instanceof ApiError) || (error.status !== 404 && error.status !== 410)) throw error;
    showMissing();
    return null;
  }
}

function showMissing() {
  fill(
    must("main"),
    el("a", { class: "back", href: "#/" }, strings.sessions.all),
    el("h1", {}, strings.sessions.missingHeading),
    el("p", { class: "error" }, strings.sessions.missing),
  );
}
