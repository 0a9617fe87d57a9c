// @ts-check
/** Large files of the page: from an element of its own, from a server, or from the reader's disk. */

/** A fault that is said on the page as it is. */
export class PageError extends Error {}

/** @param {string} text @returns {Uint8Array<ArrayBuffer>} */
export function fromBase64(text) {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** @param {string} text 16-bit numbers @returns {Uint16Array} */
export function wordsFromBase64(text) {
  return new Uint16Array(fromBase64(text).buffer);
}

/**
 * What an element holds, compressed.
 *
 * @param {string} id
 * @returns {Promise<ArrayBuffer>}
 */
export async function fromElement(id) {
  const element = document.getElementById(id);
  if (!element) throw new PageError(`this page has no part "${id}": make it anew`);
  if (!("DecompressionStream" in globalThis)) {
    throw new PageError("this browser cannot unpack the page's data: use one from 2023 or later");
  }
  const squeezed = new Blob([fromBase64((element.textContent ?? "").trim())]);
  return new Response(squeezed.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/**
 * Fetch a file, whose bytes the browser refuses unless they have this hash.
 *
 * @param {string} url @param {string} integrity
 * @returns {Promise<ArrayBuffer>}
 */
export async function fetchChecked(url, integrity) {
  const answer = await fetch(url, { integrity });
  if (!answer.ok) throw new PageError(`${url} answers ${answer.status} ${answer.statusText}`);
  return answer.arrayBuffer();
}

/**
 * Whether a file that the reader chose is the one meant.
 *
 * @param {ArrayBuffer} data @param {string} integrity
 */
export async function isMeant(data, integrity) {
  if (!globalThis.crypto?.subtle) return true; // pages without it cannot check
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-384", data));
  return integrity === `sha384-${btoa(String.fromCharCode(...digest))}`;
}
