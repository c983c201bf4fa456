/** A source where it stands: marked, with the text before and after it. */

import { ApiError } from "../api/http.js";
import { range } from "../api/text.js";
import { button, el, write } from "../dom.js";
import { count } from "../format.js";
import { strings } from "../strings.js";
import { open } from "./dialogs.js";

/** @typedef {import("../api/types.js").Source} Source */

const AROUND_BYTES = 1200;
const texts = strings.place;

/**
 * @param {string} session
 * @param {Source} source
 */
export function openPlace(session, source) {
  const before = el("span");
  const mark = el("mark", {}, source.text);
  const after = el("span");
  const note = el("p", { class: "hint", role: "status" });
  const text = el(
    "div",
    { class: "place", tabindex: 0, role: "region", "aria-label": texts.heading },
    before,
    mark,
    after,
  );
  const span = { from: source.offset, to: source.offset + source.bytes };

  const earlier = button(texts.earlier, () => extend("earlier"));
  const later = button(texts.later, () => extend("later"));

  /** @param {"earlier" | "later"} way */
  async function extend(way) {
    try {
      if (way === "earlier") await prepend();
      else await append();
    } catch (error) {
      // Behind the end of the text there is nothing, which is no fault.
      const end = error instanceof ApiError && error.code === "text_not_found";
      if (!end) write(note, `${texts.alone} ${error instanceof Error ? error.message : error}`);
      (way === "earlier" ? earlier : later).disabled = true;
    }
  }

  async function prepend() {
    const from = Math.max(0, span.from - AROUND_BYTES);
    const found = span.from > 0 ? await range(session, from, span.from - from) : null;
    const here = found && found.document === source.document && found.offset + found.bytes === span.from;
    if (here) {
      before.prepend(found.text);
      span.from = found.offset;
    }
    earlier.disabled = !here || span.from === 0;
  }

  async function append() {
    const found = await range(session, span.to, AROUND_BYTES);
    const here = found.document === source.document && found.offset === span.to;
    if (here) {
      after.append(found.text);
      span.to = found.offset + found.bytes;
    }
    later.disabled = !here || found.bytes === 0;
  }

  const where = texts.range(count(source.offset), count(source.offset + source.bytes));
  open(
    texts.heading,
    el("p", { class: "facts" }, source.document ? `${texts.in(source.document)}, ${where}` : where),
    earlier,
    text,
    later,
    note,
  );
  void Promise.all([extend("earlier"), extend("later")]).then(() => mark.scrollIntoView({ block: "center" }));
}
