/** Text in an encoding other than UTF-8. */

/**
 * Whether browsers can decode it, by the name that the server has for it.
 *
 * @param {string | undefined} encoding
 */
export const isDecodable = (encoding) => encoding !== undefined && !encoding.startsWith("UTF-32");

/**
 * The same text in UTF-8. The browser holds it, not this tab.
 *
 * @param {Blob} file
 * @param {string} encoding
 * @returns {Promise<Blob>}
 */
export function decoded(file, encoding) {
  /** @type {ReadableWritablePair<string, BufferSource>} */
  const decoder = new TextDecoderStream(encoding);
  return new Response(file.stream().pipeThrough(decoder).pipeThrough(new TextEncoderStream())).blob();
}
