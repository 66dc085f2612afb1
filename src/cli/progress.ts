import { Presets, SingleBar } from 'cli-progress';

import type { Cell } from '../core/cell.js';
import { sanitizeForTerminal } from '../report/sanitize.js';
import { duration, type Terminal } from './terminal.js';

/** "llama-3-8b attention B=4 N=2048" */
export function cellTitle(cell: Cell): string {
  const kv = cell.kvLen === null ? '' : ` N=${cell.kvLen}`;
  return sanitizeForTerminal(`${cell.model.name} ${cell.scope} B=${cell.batchSize}${kv}`);
}

/** Progress with the time left: a live bar on a terminal, one line a cell elsewhere, nothing with --quiet. */
export class SweepProgress {
  private readonly bar: SingleBar | null;
  private readonly started = performance.now();
  private title = '';
  private done = 0;

  constructor(
    private readonly terminal: Terminal,
    private readonly total: number,
  ) {
    const live = terminal.stderr.isTTY === true && !terminal.quiet;
    this.bar = live
      ? new SingleBar(
          {
            stream: terminal.stderr,
            format: '{bar} {value}/{total} {left} {title} {phase}',
            barsize: 20,
            hideCursor: true,
            clearOnComplete: true,
          },
          Presets.shades_classic,
        )
      : null;
    this.bar?.start(total, 0, { title: '', phase: '', left: '' });
  }

  cellStarted(cell: Cell, index: number): void {
    this.title = cellTitle(cell);
    this.done = index;
    if (this.bar === null) {
      if (!this.terminal.quiet) {
        this.terminal.stderr.write(`[${index + 1}/${this.total}] ${this.title}${this.left()}\n`);
      }
      return;
    }
    this.bar.update(index, { title: this.title, phase: '', left: this.left() });
  }

  phase(phase: string): void {
    this.bar?.update(this.done, { title: this.title, phase, left: this.left() });
  }

  stop(): void {
    this.bar?.stop();
  }

  private left(): string {
    if (this.done === 0) return '';
    const perCell = (performance.now() - this.started) / 1000 / this.done;
    return ` about ${duration(perCell * (this.total - this.done))} left`;
  }
}
