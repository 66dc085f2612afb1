/** Problems that are named one by one; the rest is counted. */
const NAMED = 5;

/** Warnings of one kind: the first few and a count. */
export class Collected {
  private readonly first: string[] = [];
  private count = 0;

  constructor(private readonly what: string) {}

  add(text: string): void {
    this.count += 1;
    if (this.first.length < NAMED) this.first.push(text);
  }

  lines(): string[] {
    if (this.count === 0) return [];
    const more = this.count > NAMED ? ` and ${this.count - NAMED} more` : '';
    return [`${this.what}: ${this.first.join('; ')}${more}`];
  }
}
