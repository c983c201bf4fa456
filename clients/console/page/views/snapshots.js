/** The snapshots of a session: take, restore, delete. */

import { removeSnapshot, restore, snapshots, takeSnapshot } from "../api/sessions.js";
import { announce, button, el, fill } from "../dom.js";
import { bytes, date, shortCount } from "../format.js";
import { strings } from "../strings.js";
import { attempt, consent, open } from "./dialogs.js";

/** @typedef {import("../api/types.js").Session} Session */
/** @typedef {import("../api/types.js").Snapshot} Snapshot */

const texts = strings.snapshots;

/**
 * @param {Session} session
 * @param {(session: Session) => void} restored
 */
export function openSnapshots(session, restored) {
  const list = el("ul", { class: "snapshots" });
  const name = el("input", { type: "text", required: true, pattern: "[A-Za-z0-9._\\-]{1,64}", title: texts.nameHint });

  async function refresh() {
    const found = await snapshots(session.id);
    if (found.length) fill(list, ...found.map(item));
    else fill(list, el("li", { class: "hint" }, texts.none));
  }

  /** @param {SubmitEvent} event */
  async function submit(event) {
    event.preventDefault();
    if (await attempt(texts.take, () => takeSnapshot(session.id, name.value))) name.value = "";
    await refresh();
  }

  /** @param {Snapshot} snapshot */
  function item(snapshot) {
    const { tokens, offset, created_at } = snapshot;
    return el(
      "li",
      {},
      el(
        "div",
        {},
        el("span", { class: "name" }, snapshot.name),
        el("span", { class: "facts" }, texts.facts(date(created_at), bytes(offset), shortCount(tokens))),
      ),
      button(texts.restore, () => back(snapshot.name), { "aria-label": `${texts.restore} ${snapshot.name}` }),
      button(texts.remove, () => remove(snapshot.name), {
        class: "danger",
        "aria-label": `${texts.remove} ${snapshot.name}`,
      }),
    );
  }

  /** @param {string} snapshot */
  async function back(snapshot) {
    if (!(await consent(texts.restoreQuestion(snapshot), texts.restoreExplained, texts.restore))) return;
    const done = await attempt(texts.restore, async () => restored(await restore(session.id, snapshot)));
    if (done) announce(texts.restored(snapshot));
  }

  /** @param {string} snapshot */
  async function remove(snapshot) {
    if (!(await consent(texts.removeQuestion(snapshot), texts.removeExplained, texts.remove))) return;
    await attempt(texts.remove, () => removeSnapshot(session.id, snapshot));
    await refresh();
  }

  const form = el(
    "form",
    { onsubmit: submit },
    el("label", { class: "field" }, texts.name, name),
    el("button", { type: "submit", class: "primary" }, texts.take),
  );
  open(texts.heading, el("p", { class: "hint" }, texts.explained), form, list);
  void attempt(texts.heading, refresh);
}
