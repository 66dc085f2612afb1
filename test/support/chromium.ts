import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';

/** The headless Chromium of this machine, as Debian packages it; null where there is none. */
export function findChromium(): string | null {
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    try {
      return execFileSync('which', [name], { encoding: 'utf8' }).trim();
    } catch {
      // Not there under this name.
    }
  }
  return null;
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

/** A page under the DevTools protocol over a pipe: no port, no WebSocket. */
export class Chromium {
  private readonly folder = mkdtempSync(join(tmpdir(), 'polar-chromium-'));
  private readonly process: ChildProcess;
  private readonly input: Writable;
  private readonly waiting = new Map<number, (message: Message) => void>();
  private readonly listeners = new Map<string, () => void>();
  private lastId = 0;
  private rest = '';
  private session = '';
  /** What the page's console and the browser's log said, errors and warnings only */
  readonly complaints: string[] = [];

  constructor(binary: string) {
    const options = ['--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars'];
    this.process = spawn(
      binary,
      [...options, `--user-data-dir=${this.folder}`, '--remote-debugging-pipe', 'about:blank'],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
    );
    this.input = this.process.stdio[3] as Writable;
    (this.process.stdio[4] as Readable).on('data', (data: Buffer) => this.receive(data.toString('utf8')));
  }

  private receive(text: string): void {
    const parts = (this.rest + text).split('\0');
    this.rest = parts.pop() ?? '';
    for (const part of parts) this.dispatch(JSON.parse(part) as Message);
  }

  private dispatch(message: Message): void {
    if (message.id !== undefined) this.waiting.get(message.id)?.(message);
    const { method = '', params = {} } = message;
    this.listeners.get(method)?.();
    const entry = params['entry'] as { level?: string; text?: string; url?: string } | undefined;
    if (method === 'Log.entryAdded' && (entry?.level === 'error' || entry?.level === 'warning')) {
      this.complaints.push(`${entry.text} ${entry.url ?? ''}`);
    }
    if (
      method === 'Runtime.exceptionThrown' ||
      (method === 'Runtime.consoleAPICalled' && params['type'] === 'error')
    ) {
      this.complaints.push(JSON.stringify(params));
    }
  }

  async send(method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const id = ++this.lastId;
    const answer = new Promise<Message>((resolve) => this.waiting.set(id, resolve));
    const session = this.session === '' ? {} : { sessionId: this.session };
    this.input.write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    const { result, error } = await answer;
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }

  /** Loads a file at a viewport. */
  async open(path: string, width: number, height: number, dark = false): Promise<void> {
    if (this.session === '') {
      const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
      const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
      this.session = sessionId as string;
      for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await this.send(`${domain}.enable`);
    }
    const mobile = width < 600;
    await this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile });
    const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }];
    await this.send('Emulation.setEmulatedMedia', { features });
    const loaded = new Promise<void>((resolve) => this.listeners.set('Page.loadEventFired', resolve));
    await this.send('Page.navigate', { url: pathToFileURL(path).href });
    await loaded;
  }

  async evaluate<T>(expression: string): Promise<T> {
    const { result } = await this.send('Runtime.evaluate', { expression, returnByValue: true });
    return (result as { value: T }).value;
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.process.on('close', resolve));
    this.process.kill();
    await ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}
