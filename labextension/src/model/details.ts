/** The values of replies, read from unknown JSON. Used by the session. */
import { arrayOf, countOf, isRecord, recordOf, textOf, textsOf } from './json';
import { parseMetrics, parseNumber, parsePoints } from './messages';
import type { HParams, Metrics, Point } from './messages';

export interface ITrialDetails {
  readonly attempt: number;
  /** The folder of the attempt. */
  readonly dir: string;
  /** Whole hyperparameters; null from a sender that leaves them to the row. */
  readonly hparams: HParams | null;
  /** Exact metrics; null from a sender that leaves them to the row. */
  readonly metrics: Metrics | null;
  readonly error: { readonly kind: string; readonly message: string; readonly traceback: string } | null;
  readonly warnings: readonly string[];
  /** What the training function returned besides its metrics, as text. */
  readonly values: Readonly<Record<string, string>>;
  readonly files: readonly { readonly path: string; readonly size_bytes: number }[];
  readonly curves: Readonly<Record<string, readonly Point[]>>;
  readonly requeue_reason: string;
}

export interface ILogPiece {
  readonly text: string;
  /** Bytes of the file: where the text begins and ends, and how long the file is. */
  readonly begin: number;
  readonly end: number;
  readonly size: number;
}

export interface IBoardAddress {
  readonly port: number;
  readonly path: string;
}

export function parseTrialDetails(value: unknown): ITrialDetails {
  const data = recordOf(value);
  return {
    attempt: countOf(data.attempt, 1),
    dir: textOf(data.dir),
    hparams: isRecord(data.hparams) ? data.hparams : null,
    metrics: isRecord(data.metrics) ? parseMetrics(data.metrics) : null,
    error: isRecord(data.error)
      ? {
          kind: textOf(data.error.kind),
          message: textOf(data.error.message),
          traceback: textOf(data.error.traceback)
        }
      : null,
    warnings: textsOf(data.warnings),
    values: Object.fromEntries(
      Object.entries(recordOf(data.values)).map(([name, item]) => [
        name,
        typeof item === 'string' ? item : JSON.stringify(item)
      ])
    ),
    files: arrayOf(data.files)
      .filter(isRecord)
      .map(file => ({ path: textOf(file.path), size_bytes: countOf(file.size_bytes) })),
    curves: Object.fromEntries(
      Object.entries(recordOf(data.curves)).map(([name, points]) => [name, parsePoints(points)])
    ),
    requeue_reason: textOf(data.requeue_reason)
  };
}

export function parseLogPiece(value: unknown): ILogPiece {
  const data = recordOf(value);
  return {
    text: textOf(data.text),
    begin: countOf(data.begin),
    end: countOf(data.end),
    size: countOf(data.size)
  };
}

/** {hyperparameter: share}, the largest first. */
export function parseImportance(value: unknown): [name: string, share: number][] {
  return Object.entries(recordOf(value))
    .map(([name, share]): [string, number] => [name, parseNumber(share) ?? NaN])
    .filter(([, share]) => Number.isFinite(share))
    .sort((a, b) => b[1] - a[1]);
}

/** Where TensorBoard listens; null when the reply names no port. */
export function parseBoard(value: unknown): IBoardAddress | null {
  const data = recordOf(value);
  const port = countOf(data.port);
  return Number.isInteger(port) && port > 0 && port < 65_536 ? { port, path: textOf(data.path) } : null;
}

const MEDIA_TYPES: readonly string[] = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'];

/** A picture from the run's folder; null for any other kind of file. */
export function parsePicture(value: unknown): Blob | null {
  const data = recordOf(value);
  const type = textOf(data.media_type);
  if (!MEDIA_TYPES.includes(type)) return null;
  const bytes = Uint8Array.from(atob(textOf(data.base64)), character => character.charCodeAt(0));
  return new Blob([bytes], { type });
}
