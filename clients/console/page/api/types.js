/**
 * The bodies of the API, as docs/API.md has them.
 *
 * @typedef {object} Session
 * @property {string} id
 * @property {number} created_at
 * @property {number} updated_at
 * @property {number | null} expires_at
 * @property {Record<string, string>} metadata
 * @property {string} model
 * @property {string} fingerprint
 * @property {"idle" | "reading" | "quarantined"} status
 * @property {{accepted_bytes: number, read_bytes: number, tokens: number}} text
 * @property {{version: number, segments: number, bytes: number}} memory
 *
 * @typedef {object} Snapshot
 * @property {string} name
 * @property {number} created_at
 * @property {number} offset
 * @property {number} tokens
 * @property {{version: number, segments: number, bytes: number}} memory
 *
 * @typedef {object} Source
 * @property {number} offset in bytes
 * @property {number} bytes
 * @property {string | null} document
 * @property {string} text
 * @property {number} score
 *
 * @typedef {object} Answer
 * @property {string} answer
 * @property {"stop" | "length"} finish_reason
 * @property {boolean | null} found
 * @property {Source[]} sources
 * @property {{prompt_tokens: number, completion_tokens: number, memory_tokens: number}} usage
 * @property {{version: number, offset: number, restored_from: string, restore_seconds: number}} memory
 *
 * @typedef {object} TextRange
 * @property {number} offset in bytes
 * @property {number} bytes
 * @property {string | null} document
 * @property {string} text
 *
 * @typedef {object} Version
 * @property {string} version
 * @property {string} model
 * @property {string} fingerprint
 * @property {string} store
 * @property {string} durability
 * @property {string[]} extracts suffixes of files that the server can extract text from
 * @property {Limits} limits
 *
 * @typedef {object} Limits
 * @property {number} question_characters
 * @property {number} answer_tokens
 * @property {number} segment_tokens
 * @property {number | null} memory_tokens null where a memory has no count of tokens
 */

export {};
