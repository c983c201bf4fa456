/** What the server does now, in a word at the top of the page and in full in a dialog. */

import { hasKey, useKey } from "../api/key.js";
import { activity, version } from "../api/server.js";
import { button, el, fill, must, write } from "../dom.js";
import { bytes, count, duration, shortCount } from "../format.js";
import { Rate } from "../reading/rate.js";
import { strings } from "../strings.js";
import { attempt, open } from "./dialogs.js";

/** @typedef {import("../api/server.js").Activity} Activity */
/** @typedef {import("../api/types.js").Version} Version */

const LOOK_MILLISECONDS = 5000;
const texts = strings.server;

/** Shows the state of the server at the top of the page for as long as the page is open. */
export function showServer() {
  const state = el("span", { class: "facts" });
  fill(
    must("server"),
    state,
    button(texts.open, () => void attempt(texts.heading, openServer)),
  );
  const look = async () => {
    if (document.hidden) return;
    const now = await activity().catch(() => null);
    const busy = now && (now.reading || now.answering);
    write(state, now ? (busy ? texts.busy(now.reading, now.answering) : texts.idle) : "");
  };
  void look();
  setInterval(look, LOOK_MILLISECONDS);
}

async function openServer() {
  const known = await version();
  const now = el("dl", { class: "properties" });
  const speed = new Rate();
  const refresh = async () => {
    const state = await activity();
    if (!state) return fill(now, el("dt", {}, texts.hidden));
    speed.add(state.readTokens);
    fill(now, ...properties(activityRows(state, speed)));
  };
  await refresh();
  const forget = button(strings.key.forget, () => {
    useKey(null);
    location.reload();
  });
  const dialog = open(
    texts.heading,
    now,
    el("dl", { class: "properties" }, ...properties(identityRows(known))),
    el("p", {}, el("a", { href: "docs" }, texts.docs)),
    hasKey() && el("div", { class: "buttons" }, forget),
  );
  const timer = setInterval(() => refresh().catch(() => undefined), 1000);
  dialog.addEventListener("close", () => clearInterval(timer));
}

/**
 * @param {Activity} now
 * @param {Rate} speed
 * @returns {[string, string][]}
 */
function activityRows(now, speed) {
  return [
    [texts.reading, count(now.reading)],
    [texts.answering, count(now.answering)],
    [texts.waiting, count(now.waiting)],
    [texts.unread, bytes(now.unreadBytes)],
    [texts.speed, texts.speedValue(shortCount(speed.perSecond))],
    [texts.firstToken, now.firstTokenSeconds === null ? texts.none : duration(now.firstTokenSeconds)],
  ];
}

/**
 * @param {Version} known
 * @returns {[string, string][]}
 */
function identityRows({ model, fingerprint, store, durability, version, limits }) {
  const memory = limits.memory_tokens === null ? [] : [texts.limitMemory(count(limits.memory_tokens))];
  const requests = texts.limitText(count(limits.question_characters), count(limits.answer_tokens));
  return [
    [texts.model, model],
    [texts.fingerprint, fingerprint.slice(0, 16)],
    [texts.limits, [requests, ...memory].join("; ")],
    [texts.store, store],
    [texts.durability, durability],
    [texts.version, version],
  ];
}

/** @param {[string, string][]} rows */
const properties = (rows) => rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
