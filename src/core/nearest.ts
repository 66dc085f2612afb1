/** Longer words are not compared: the cost is quadratic and nothing we name is longer. */
const MAX_WORD_CHARS = 64;

/**
 * Edits (insert, delete, replace, swap of neighbours) that turn one word into the other; optimal string alignment.
 * @param a any text
 * @param b any text
 * @returns count of edits, 0 for equal words
 */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let best = Math.min(replace, last[j]! + 1, row[j - 1]! + 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) best = Math.min(best, beforeLast[j - 2]! + 1);
      row.push(best);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}

/**
 * The known words that somebody may have meant: at most a third of the letters away, or continuing what was typed.
 * @param word what was typed; case does not matter
 * @param known the words that exist
 * @param limit how many to return at most
 * @returns closest first, ties in the order of `known`; empty when nothing is near
 */
export function nearest(word: string, known: readonly string[], limit = 3): string[] {
  const typed = word.trim().toLowerCase();
  if (typed === '' || typed.length > MAX_WORD_CHARS) return [];
  const scored = known.flatMap((candidate) => {
    const target = candidate.toLowerCase();
    const distance = editDistance(typed, target);
    const allowed = Math.max(1, Math.floor(Math.max(typed.length, target.length) / 3));
    const continues = typed.length >= 2 && target.startsWith(typed);
    return distance <= allowed || continues ? [{ candidate, distance }] : [];
  });
  return scored
    .toSorted((a, b) => a.distance - b.distance)
    .slice(0, limit)
    .map((s) => s.candidate);
}

/**
 * The hint of an error about an unknown word.
 * @param word what was typed
 * @param known the words that exist
 * @returns `Did you mean a or b?`, or the known words when none is near
 */
export function didYouMean(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  return near.length > 0 ? `Did you mean ${near.join(' or ')}?` : `Known: ${known.join(', ')}.`;
}
