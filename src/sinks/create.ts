import type { Format, Sink, SinkOptions, TextWriter } from './sink.js';

/**
 * The sink of a format. Loads only the code of that format, so that other commands start fast.
 *
 * @param format one of FORMATS
 * @param writer receives UTF-16 text in pieces; errors that it throws pass through
 */
export async function createSink(
  format: Format,
  writer: TextWriter,
  options: SinkOptions = {},
): Promise<Sink> {
  switch (format) {
    case 'table':
      return new (await import('./table.js')).TableSink(writer, options);
    case 'csv':
      return new (await import('./csv.js')).CsvSink(writer);
    case 'json':
      return new (await import('./json.js')).JsonSink(writer);
    case 'jsonl':
      return new (await import('./json.js')).JsonLinesSink(writer);
    case 'md':
      return new (await import('./markdown.js')).MarkdownSink(writer);
  }
}
