/** The dialog that asks for an API key. */

import { useKey } from "../api/key.js";
import { button, el } from "../dom.js";
import { strings } from "../strings.js";
import { open } from "./dialogs.js";

/**
 * Resolves to the key, or to null where none is given.
 *
 * @param {boolean} refused whether a key was refused before
 * @returns {Promise<string | null>}
 */
export function askForKey(refused) {
  return new Promise((resolve) => {
    const key = el("input", { type: "password", name: "key", autocomplete: "off", required: true, autofocus: true });
    const kept = el("input", { type: "checkbox", name: "keep" });
    const submit = (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      useKey(key.value.trim(), kept.checked);
      resolve(key.value.trim());
      dialog.close();
    };
    const dialog = open(
      strings.key.heading,
      el("p", refused ? { role: "alert", class: "error" } : {}, refused ? strings.key.refused : strings.key.needed),
      el(
        "form",
        { onsubmit: submit },
        el("label", { class: "field" }, strings.key.label, key),
        el("label", { class: "check" }, kept, strings.key.keep),
        el(
          "div",
          { class: "buttons" },
          button(strings.cancel, () => dialog.close()),
          el("button", { type: "submit", class: "primary" }, strings.key.use),
        ),
      ),
    );
    dialog.addEventListener("close", () => resolve(null));
  });
}
