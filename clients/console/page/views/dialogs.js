/** Modal dialogs: one with any content, one that asks for a consent, and one that asks for a line of text. */

import { button, el } from "../dom.js";
import { strings } from "../strings.js";

let numbers = 0;

/**
 * Opens a dialog, which goes when it is closed.
 *
 * @param {string} heading
 * @param {...import("../dom.js").Child} children
 */
export function open(heading, ...children) {
  const id = `dialog-${(numbers += 1)}`;
  const close = button("×", () => dialog.close(), { class: "close", "aria-label": strings.close });
  const dialog = el(
    "dialog",
    { "aria-labelledby": id, onclose: () => dialog.remove() },
    el("header", {}, el("h2", { id }, heading), close),
    ...children,
  );
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Asks before something that cannot be undone.
 *
 * @param {string} question
 * @param {string} explanation
 * @param {string} action the button's text
 * @returns {Promise<boolean>}
 */
export function consent(question, explanation, action) {
  return new Promise((resolve) => {
    const agree = () => {
      resolve(true);
      dialog.close();
    };
    const cancel = button(strings.cancel, () => dialog.close(), { autofocus: true });
    const buttons = el("div", { class: "buttons" }, cancel, button(action, agree, { class: "danger" }));
    const dialog = open(question, el("p", {}, explanation), buttons);
    dialog.addEventListener("close", () => resolve(false));
  });
}

/**
 * Asks for a line of text; null where it is given up.
 *
 * @param {string} heading
 * @param {string} label
 * @param {string} value
 * @param {string} action the button's text
 * @returns {Promise<string | null>}
 */
export function line(heading, label, value, action) {
  return new Promise((resolve) => {
    const input = el("input", { type: "text", value, maxlength: 512, autofocus: true });
    const submit = (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      resolve(input.value.trim());
      dialog.close();
    };
    const buttons = el(
      "div",
      { class: "buttons" },
      button(strings.cancel, () => dialog.close()),
      el("button", { type: "submit", class: "primary" }, action),
    );
    const dialog = open(
      heading,
      el("form", { onsubmit: submit }, el("label", { class: "field" }, label, input), buttons),
    );
    input.select();
    dialog.addEventListener("close", () => resolve(null));
  });
}

/**
 * Does something that may fail, and shows why where it does; whether it succeeded.
 *
 * @param {string} what
 * @param {() => Promise<unknown>} action
 */
export async function attempt(what, action) {
  try {
    await action();
    return true;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const dialog = open(what, el("p", { role: "alert" }, strings.failed(what, why)));
    dialog.append(
      el(
        "div",
        { class: "buttons" },
        button(strings.close, () => dialog.close(), { autofocus: true }),
      ),
    );
    return false;
  }
}
