const CONTROL_PICTURES = 0x2400;
const DELETE_PICTURE = '\u2421';

/**
 * What must not reach a terminal from text that we did not write: C0 and C1 controls and DEL (escape sequences begin
 * with one), marks that reorder or hide text (bidirectional overrides and isolates, the byte order mark), the two
 * Unicode line breaks, and lone surrogates, which no encoding can write.
 */
const UNSAFE =
  // oxlint-disable-next-line no-control-regex -- control characters are what this is for
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\p{Surrogate}/gu;

function visible(char: string): string {
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCodePoint(CONTROL_PICTURES + code);
  if (code === 0x7f) return DELETE_PICTURE;
  if (code >= 0xd800 && code <= 0xdfff) return '\ufffd';
  return `<U+${code.toString(16).toUpperCase().padStart(4, '0')}>`;
}

/**
 * Text as it may be shown in a terminal: one line, no escape sequence, nothing reordered. What is replaced stays visible
 * (ESC as its control picture, C1 controls and bidirectional marks as `<U+202E>`); all other text is unchanged.
 * Replacing again changes nothing.
 */
export function sanitizeForTerminal(text: string): string {
  return text.replace(UNSAFE, visible);
}

/**
 * JSON text in which the same characters are `\uXXXX` escapes, so that it can be shown in a terminal and still parses
 * to the same value. JSON.stringify alone escapes C0 controls and lone surrogates, not DEL, C1 controls and the rest.
 *
 * @param json one line of output of JSON.stringify without indentation (line breaks would be escaped too)
 */
export function escapeJsonForTerminal(json: string): string {
  return json.replace(UNSAFE, (char) => `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`);
}
