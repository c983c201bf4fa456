/** Server-sent events out of a response's body. */

import { body } from "./http.js";

/**
 * The events of a stream, each with the JSON of its data; comments are skipped.
 *
 * @param {ReadableStream<BufferSource>} stream
 * @returns {AsyncGenerator<{name: string, data: any}>}
 */
export async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await body(reader.read());
      if (done) return;
      text += value;
      // An event ends at an empty line.
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const event = parsed(text.slice(0, end));
        text = text.slice(end + 2);
        if (event) yield event;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/**
 * @param {string} block the lines of one event
 */
function parsed(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  return data.length ? { name, data: JSON.parse(data.join("\n")) } : null;
}
