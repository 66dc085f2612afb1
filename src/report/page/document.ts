import type { ClaimAxis, ClaimResult } from '../../core/claim.js';
import type { UnionRow } from '../../core/union.js';
import type { PolarMap } from '../polar-map.js';

/** A report as data: HTML and Markdown show the same document. Texts are untrusted until a sink escapes them. */
export interface ReportDocument {
  readonly title: string;
  /** Device, model, run: one sentence each */
  readonly summary: readonly string[];
  readonly sections: readonly Section[];
}

export interface Section {
  /** Anchor */
  readonly id: string;
  readonly title: string;
  readonly paragraphs: readonly string[];
  readonly tables: readonly Table[];
  readonly figures: readonly Figure[];
  /** Shown as a list after everything else */
  readonly points: readonly string[];
  /** Shell lines */
  readonly commands: readonly string[];
}

export interface Table {
  readonly caption: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly TableCell[])[];
  /** Columns of numbers, by index */
  readonly numeric: readonly number[];
}

/** Plain text, or text with what it leads to. */
export type TableCell =
  | string
  | {
      readonly text: string;
      readonly rows?: readonly number[];
      readonly href?: string;
      readonly id?: string;
      readonly kind?: 'code' | 'verdict';
    };

export interface Figure {
  readonly id: string;
  /** Heading above the picture */
  readonly title: string;
  /** What the picture shows, in words: the text alternative */
  readonly alt: string;
  /** Under the picture */
  readonly caption: string;
  readonly plot: Plot;
  /** The numbers of the picture */
  readonly table: Table;
}

/** A point of a line plot. */
export interface LinePoint {
  readonly x: number;
  readonly y: number;
  readonly low: number | null;
  readonly high: number | null;
  readonly series: string;
}

export type Plot =
  | { readonly kind: 'claim'; readonly claim: ClaimResult }
  | { readonly kind: 'map'; readonly map: PolarMap }
  | {
      readonly kind: 'lines';
      readonly axis: ClaimAxis;
      readonly valueTitle: string;
      /** Kernel ids, or `ideal`; in the order of the legend */
      readonly series: readonly string[];
      readonly points: readonly LinePoint[];
    }
  | {
      readonly kind: 'bars';
      readonly parts: readonly { readonly x: number; readonly module: string; readonly percent: number }[];
    }
  | {
      readonly kind: 'roofline';
      readonly readGbPerS: number;
      readonly matrixTflopPerS: number;
      readonly points: readonly {
        readonly intensity: number;
        readonly tflopPerS: number;
        readonly variant: string;
      }[];
    }
  | {
      readonly kind: 'union';
      readonly model: string;
      readonly source: string;
      readonly points: readonly UnionRow[];
      readonly law: readonly UnionRow[];
      readonly lastBatch: number;
    };

/** A section with only what it has. */
export function section(id: string, title: string, parts: Partial<Section>): Section {
  return { id, title, paragraphs: [], tables: [], figures: [], points: [], commands: [], ...parts };
}
