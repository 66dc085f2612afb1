// npm sets the mode of `bin` when it installs a package, not in a clone.
import { chmodSync } from 'node:fs';

chmodSync(new URL('../dist/main.js', import.meta.url), 0o755);
