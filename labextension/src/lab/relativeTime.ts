/**
 * 'five minutes ago' in the language of the page; used by the side bar.
 */
const UNITS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 365 * 86400],
  ['month', 30 * 86400],
  ['week', 7 * 86400],
  ['day', 86400],
  ['hour', 3600],
  ['minute', 60]
];

/**
 * How long ago that was, by its largest unit.
 *
 * @param time - seconds since the epoch.
 * @param now - seconds since the epoch.
 * @param language - a BCP 47 tag.
 */
export function relativeTime(time: number, now: number, language: string): string {
  const format = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
  const age = Math.max(0, now - time);
  for (const [unit, length] of UNITS) {
    if (age >= length) {
      return format.format(-Math.floor(age / length), unit);
    }
  }
  return format.format(0, 'second');
}

/** The page's language as a tag that `Intl` accepts; English where it has none. */
export function languageTag(languageCode: string | undefined): string {
  const tag = (languageCode ?? 'en').replace('_', '-');
  return Intl.RelativeTimeFormat.supportedLocalesOf([tag]).length > 0 ? tag : 'en';
}
