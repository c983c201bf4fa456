/** The page: the list of sessions beside the one that the address names. */

import { connection } from "./api/connection.js";
import { askWith } from "./api/key.js";
import { el, fill, must, write } from "./dom.js";
import { clock } from "./format.js";
import { strings } from "./strings.js";
import { attempt } from "./views/dialogs.js";
import { askForKey } from "./views/key.js";
import { showServer } from "./views/server.js";
import { openSession } from "./views/session.js";
import { Sidebar } from "./views/sidebar.js";

const REFRESH_MILLISECONDS = 15_000;

const sidebar = new Sidebar();
let opening = new AbortController();
/** @type {import("./views/session.js").SessionView | null} */
let view = null;

function showConnection() {
  const banner = must("connection");
  banner.hidden = connection.goneSince === null;
  write(banner, connection.goneSince === null ? "" : strings.connection.gone(clock(connection.goneSince)));
}

/** Shows what the address names: a session, or how to begin. */
async function navigate() {
  opening.abort();
  opening = new AbortController();
  view?.close();
  view = null;
  const { signal } = opening;
  const id = /^#\/sessions\/([A-Za-z0-9_-]+)$/.exec(location.hash)?.[1] ?? null;
  document.body.classList.toggle("chosen", id !== null);
  sidebar.choose(id);
  if (id === null) return welcome();
  await attempt(strings.sessions.heading, async () => {
    try {
      view = await openSession(id, sidebar, signal);
      must("main").focus();
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  });
}

function welcome() {
  document.title = strings.title;
  fill(
    must("main"),
    el("div", { class: "welcome" }, el("h1", {}, strings.sessions.welcome), el("p", {}, strings.sessions.explain)),
  );
}

async function refresh() {
  if (!document.hidden) await sidebar.refresh(true).catch(() => undefined);
}

// A file that is dropped beside the zone would replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
askWith(askForKey);
connection.addEventListener("change", showConnection);
connection.addEventListener("change", () => void refresh());
addEventListener("hashchange", () => void navigate());
document.addEventListener("visibilitychange", () => void refresh());
setInterval(refresh, REFRESH_MILLISECONDS);
await sidebar.refresh().catch(() => undefined);
showServer();
await navigate();
