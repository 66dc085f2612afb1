import { evaluateClaim } from '../claims/evaluate.js';
import type { ClaimResult, ClaimScale } from '../core/claim.js';
import type { Row } from '../core/row.js';
import { CLAIM_HEADINGS, claimCounts, claimLine, claimNotes } from '../report/claim-text.js';
import { claimsCsv, readBreakdown, writeClaims } from '../sinks/claim-files.js';
import { jsonDocument } from '../sinks/json.js';
import { plainTable } from './plain-table.js';
import { type ReproducePlan, rowFilter } from './reproduce-plan.js';
import type { ClaimFormat } from './reproduce-request.js';
import type { Terminal } from './terminal.js';

/** Verdicts from the rows of the whole run; a row's line in rows.csv is its place after the header. */
export function judge(
  planned: ReproducePlan,
  scale: ClaimScale,
  rows: readonly Row[],
  folder: string,
): ClaimResult[] {
  const numbered = rows.map((row, i) => ({ row, line: i + 2 }));
  const breakdown = readBreakdown(folder);
  return planned.claims.map((claim) => {
    const belongs = rowFilter(claim);
    const data = { rows: numbered.filter(({ row }) => belongs(row)), breakdown, models: claim.models };
    return evaluateClaim(claim.claim, scale, data, claim.unavailable);
  });
}

/** To stdout. */
export async function printClaims(
  claims: readonly ClaimResult[],
  format: ClaimFormat,
  terminal: Terminal,
): Promise<void> {
  if (format === 'csv') terminal.stdout.write(claimsCsv(claims));
  if (format === 'json') terminal.stdout.write(jsonDocument({ schema_version: 1, claims }));
  if (format !== 'table') return;
  terminal.stdout.write(await plainTable(CLAIM_HEADINGS, claims.map(claimLine)));
  for (const note of claimNotes(claims)) terminal.stdout.write(`- ${note}\n`);
  terminal.stdout.write(`${claimCounts(claims)}\n`);
}

/** Tables, plots and the report. @param folder absolute path; exists */
export async function writeResults(folder: string, claims: readonly ClaimResult[]): Promise<void> {
  writeClaims(folder, claims);
  const { writeClaimPlots } = await import('../sinks/plots-claim.js');
  await writeClaimPlots(folder, claims);
  const { makeReport } = await import('./report.js');
  await makeReport(folder, folder, [], folder);
}
