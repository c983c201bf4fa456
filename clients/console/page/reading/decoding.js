/** Text in an old encoding. */

// By the encoding standard Latin-1 is read as Windows-1252, which has the same letters.
const ENCODING = "windows-1252";

/**
 * The same text in UTF-8, for a file whose bytes are Latin-1 or Windows-1252. The browser holds it, not this tab.
 *
 * @param {Blob} file
 * @returns {Promise<Blob>}
 */
export function fromLatin1(file) {
  /** @type {ReadableWritablePair<string, BufferSource>} */
  const decoder = new TextDecoderStream(ENCODING);
  return new Response(file.stream().pipeThrough(decoder).pipeThrough(new TextEncoderStream())).blob();
}
