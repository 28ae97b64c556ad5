import { languageTag, relativeTime } from '../relativeTime';

const NOW = 1_795_000_000;

test.each([
  [5, 'now'],
  [61, '1 minute ago'],
  [7300, '2 hours ago'],
  [86400, 'yesterday'],
  [-30, 'now']
])('%p seconds ago is %p', (age, text) => {
  expect(relativeTime(NOW - age, NOW, 'en')).toBe(text);
});

test("the page's language is used where the browser has it", () => {
  expect(relativeTime(NOW - 7300, NOW, languageTag('de_DE'))).toBe('vor 2 Stunden');
  expect(languageTag('xx_XX')).toBe('en');
  expect(languageTag(undefined)).toBe('en');
});
