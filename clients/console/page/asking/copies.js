/** A question and its answer as text to take elsewhere. */

import { query } from "../api/questions.js";
import { hasKey } from "../api/key.js";
import { strings } from "../strings.js";

/** @typedef {import("./entries.js").Entry} Entry */

/**
 * The question, the answer and its sources in Markdown.
 *
 * @param {Entry} entry
 */
export function markdown({ question, text, answer }) {
  const sources = (answer?.sources ?? []).map(({ document, offset, text }, index) => {
    const where = [document, strings.questions.at(offset)].filter(Boolean).join(", ");
    return `${index + 1}. ${where}\n\n${quoted(text, "   > ")}`;
  });
  const body = answer?.found === false ? `*${strings.questions.notFound}*` : text;
  return [`**${question}**`, quoted(body, ""), ...sources].join("\n\n") + "\n";
}

/**
 * The command that asks the same question; the key is left to the shell's environment.
 *
 * @param {string} session
 * @param {Entry} entry
 */
export function curl(session, { question }) {
  const url = new URL(`v1/sessions/${encodeURIComponent(session)}/queries`, document.baseURI);
  return [
    `curl --fail-with-body ${shell(url.href)}`,
    ...(hasKey() ? ['-H "Authorization: Bearer $ONCEREAD_API_KEY"'] : []),
    "-H 'Content-Type: application/json'",
    `-d ${shell(JSON.stringify(query(question)))}`,
  ].join(" \\\n  ");
}

/**
 * @param {string} text
 * @param {string} prefix of each line
 */
function quoted(text, prefix) {
  return text
    .trim()
    .split("\n")
    .map((line) => prefix + line)
    .join("\n");
}

/** @param {string} word */
const shell = (word) => `'${word.replaceAll("'", "'\\''")}'`;
