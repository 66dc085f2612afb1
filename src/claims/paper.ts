/** The paper's numbers, found by reference in its digitized figures. */

type Reference = string | number;

/** JSON pointers into figures.json, or numbers; `ratio` is first over second, element by element. */
export interface PaperSpec {
  readonly source: string;
  readonly x?: string | number[] | undefined;
  readonly value?: Reference | Reference[] | undefined;
  readonly ratio?: [Reference | Reference[], Reference | Reference[]] | undefined;
}

export interface PaperValue {
  readonly x: number;
  readonly value: number;
}

type Refuse = (expected: string, got: unknown) => Error;

function lookup(figures: unknown, pointer: string, refuse: Refuse): unknown {
  let at: unknown = figures;
  for (const key of pointer.split('/').slice(1)) {
    at = typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[key] : undefined;
  }
  if (at === undefined) throw refuse('a JSON pointer into figures.json', pointer);
  return at;
}

/** As many numbers as `count`; a single number counts for all of them. */
function numbers(figures: unknown, reference: unknown, count: number, refuse: Refuse): number[] {
  const found = typeof reference === 'string' ? lookup(figures, reference, refuse) : reference;
  const list = Array.isArray(found) ? (found as unknown[]) : Array.from({ length: count }, () => found);
  const values = list.map((v) => (typeof v === 'string' ? lookup(figures, v, refuse) : v));
  if (values.length !== count || values.some((v) => typeof v !== 'number' || !(v > 0))) {
    throw refuse(`${count} numbers above 0`, reference);
  }
  return values as number[];
}

/**
 * The series that a claim is compared with.
 * @param spec references
 * @param figures figures.json, parsed
 * @param refuse makes the error for a reference that leads nowhere or to something else
 * @returns ascending in x as the figures are; empty where the claim has no number
 */
export function paperSeries(spec: PaperSpec, figures: unknown, refuse: Refuse): PaperValue[] {
  if (spec.x === undefined) return [];
  const found = typeof spec.x === 'string' ? lookup(figures, spec.x, refuse) : spec.x;
  if (!Array.isArray(found)) throw refuse('a list for x', spec.x);
  const x = numbers(figures, found, found.length, refuse);
  const of = (reference: unknown): number[] => numbers(figures, reference, x.length, refuse);
  if (spec.ratio === undefined) return of(spec.value).map((value, i) => ({ x: x[i] as number, value }));
  const [top, bottom] = [of(spec.ratio[0]), of(spec.ratio[1])];
  return x.map((at, i) => ({ x: at, value: (top[i] as number) / (bottom[i] as number) }));
}
