/** How numbers, durations and foreign values are written: as in the Python faces (display/wording.py). */

export const NOTHING = '–';

/** Invisible and direction-changing characters, control characters and halves of surrogate pairs. */
const UNSAFE =
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** Text without characters that hide or reorder what stands next to them; tabs and line breaks stay. */
export function visible(text: string): string {
  return text.replace(UNSAFE, '\ufffd');
}

/** The text as one harmless line of at most `limit` characters, ending in '…' when cut. */
export function oneLine(text: string, limit: number): string {
  const line = visible(text.slice(0, limit * 4 + 64).replace(/[ \t\r\n\v\f]+/g, ' ')).trim();
  return line.length <= limit && text.length <= limit * 4 + 64
    ? line
    : `${line.slice(0, limit - 1).trimEnd()}…`;
}

/** A number with that many significant digits: '0.9833', '3.1e-4', '12346', '–' for null, 'nan'. */
export function formatNumber(value: number | null, digits = 4): string {
  if (value === null) return NOTHING;
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e7) return String(value);
  if (size >= 1e4 && size < 1e7) return value.toFixed(0);
  if ((size > 0 && size < 1e-3) || size >= 1e7) return withExponent(value, digits);
  return String(Number(value.toPrecision(digits)));
}

/** A number to look at closely: six significant digits, also of large ones. */
export function formatClosely(value: number): string {
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return String(value);
  return !Number.isFinite(value) || size < 1e-3 || size >= 1e7
    ? formatNumber(value, 6)
    : String(Number(value.toPrecision(6)));
}

/** A metric's number: as `formatNumber`, with trailing zeros, so a column of them lines up. */
export function formatMetric(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return formatNumber(value);
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e4 ? value.toPrecision(4).replace(/\.$/, '') : formatNumber(value);
}

/** A hyperparameter's value: numbers compact, text as it is, the rest as JSON. */
export function formatHparam(value: unknown, limit = 24): string {
  if (value === undefined) return NOTHING;
  if (typeof value === 'number') return formatNumber(value, 3);
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  return oneLine(typeof value === 'string' ? value : JSON.stringify(value), limit);
}

/** A time span by its two largest units: '40 ms', '9.1 s', '38 s', '1m 12s', '2h 05m', '3d 04h'. */
export function formatDuration(seconds: number | null): string {
  if (seconds === null) return NOTHING;
  if (seconds < 0.0995) return `${(seconds * 1000).toFixed(0)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (n: number) => String(n).padStart(2, '0');
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
  return `${Math.floor(minutes / 1440)}d ${two(Math.floor(minutes / 60) % 24)}h`;
}

/** Of a clock that runs: whole seconds. */
export function formatClock(seconds: number): string {
  return seconds < 60 ? `${Math.floor(seconds)} s` : formatDuration(Math.floor(seconds));
}

/** An estimate does not tick: five seconds' steps below a minute. */
export function formatEstimate(seconds: number): string {
  return seconds < 60
    ? formatClock(5 * Math.round(seconds / 5) || 5)
    : formatDuration(60 * Math.round(seconds / 60));
}

export function formatPercent(fraction: number): string {
  return `${(100 * fraction).toFixed(0)} %`;
}

export function formatCount(n: number): string {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let size = bytes / 1024;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size < 10 ? size.toFixed(1) : size.toFixed(0)} ${units[unit]}`;
}

/** JSON data as Python source: what a person pastes into a cell. */
export function pythonLiteral(value: unknown): string {
  if (value === null || value === undefined) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') return pythonText(value);
  if (Array.isArray(value)) return `[${value.map(pythonLiteral).join(', ')}]`;
  const items = Object.entries(value).map(([name, item]) => `${pythonText(name)}: ${pythonLiteral(item)}`);
  return `{${items.join(', ')}}`;
}

/** JSON's escapes mean the same in Python, but for lone halves of surrogate pairs, which JSON escapes too. */
function pythonText(text: string): string {
  return JSON.stringify(text).replace(
    /[\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  );
}

function withExponent(value: number, digits: number): string {
  const [mantissa, power] = value.toExponential(digits - 1).split('e');
  return `${mantissa.includes('.') ? mantissa.replace(/\.?0+$/, '') : mantissa}e${Number(power)}`;
}
