import { translatorOf } from '../i18n';
import {
  formatBytes,
  formatClosely,
  formatDuration,
  formatHparam,
  formatMetric,
  formatNumber,
  oneLine,
  pythonLiteral
} from '../view/format';

test.each([
  [null, '–'],
  [NaN, 'nan'],
  [Infinity, 'inf'],
  [-Infinity, '-inf'],
  [0, '0'],
  [7, '7'],
  [0.98333, '0.9833'],
  [0.5, '0.5'],
  [0.00031, '3.1e-4'],
  [12345.6, '12346'],
  [123456789, '1.235e8'],
  [-0.25, '-0.25']
])('the number %p reads %p', (value, text) => {
  expect(formatNumber(value)).toBe(text);
});

test.each([
  [0.4723946849349913, '0.472395'],
  [12345.678, '12345.7'],
  [0.00002991234, '2.99123e-5'],
  [1795379297, '1795379297'],
  [NaN, 'nan'],
  [80, '80']
])('looked at closely, %p reads %p', (value, text) => {
  expect(formatClosely(value)).toBe(text);
});

test.each([
  [0.98, '0.9800'],
  [12.3456, '12.35'],
  [1234.5, '1235'],
  [NaN, 'nan']
])('the metric %p lines up as %p', (value, text) => {
  expect(formatMetric(value)).toBe(text);
});

test.each([
  [null, '–'],
  [0.04, '40 ms'],
  [0.8, '0.8 s'],
  [38.4, '38 s'],
  [72, '1m 12s'],
  [7500, '2h 05m'],
  [273_600, '3d 04h']
])('%p seconds read %p', (seconds, text) => {
  expect(formatDuration(seconds)).toBe(text);
});

test('hyperparameters read as in Python', () => {
  expect([0.00310001, true, null, 'adam', [1, 2], undefined].map(value => formatHparam(value))).toEqual([
    '0.0031',
    'True',
    'None',
    'adam',
    '[1,2]',
    '–'
  ]);
});

test('a text becomes one line without characters that hide or reorder others', () => {
  expect(oneLine('a\u202eb\nc\x1b[31m\u200bd', 40)).toBe('a\ufffdb c\ufffd[31m\ufffdd');
  expect(oneLine('x'.repeat(50), 10)).toBe(`${'x'.repeat(9)}…`);
});

test('the best configuration is Python source', () => {
  const hparams = {
    lr: 1e-7,
    width: 192,
    name: 'it\'s "ok"\n\u202e',
    flag: false,
    none: null,
    layers: [1, 2.5]
  };
  expect(pythonLiteral(hparams)).toBe(
    '{"lr": 1e-7, "width": 192, "name": "it\'s \\"ok\\"\\n\\u202e", "flag": False, "none": None, "layers": [1, 2.5]}'
  );
});

test('sizes have the largest unit that fits', () => {
  expect([12, 2048, 5 << 20].map(formatBytes)).toEqual(['12 B', '2.0 KiB', '5.0 MiB']);
});

test('words come from the table of translations, and English stays where there is none', () => {
  const t = translatorOf({ '%1 trial': ['%1 Versuch', '%1 Versuche'], best: 'bester' });
  expect([
    t.__('best'),
    t.__('none of %1', 3),
    t._n('%1 trial', '%1 trials', 1),
    t._n('%1 trial', '%1 trials', 5)
  ]).toEqual(['bester', 'none of 3', '1 Versuch', '5 Versuche']);
  expect(t.__('constructor')).toBe('constructor');
});
