/** A printed line: its colours, and what a person searches for marked. Always text, never HTML. */
import { memo } from 'preact/compat';

import { ansiPieces } from './ansi';

export const AnsiText = memo(function AnsiText({ line, search }: { line: string; search: string }) {
  return (
    <>
      {ansiPieces(line).map((piece, index) => {
        const content = search === '' ? piece.text : marked(piece.text, search);
        if (piece.className === '' && piece.color === undefined && piece.background === undefined)
          return content;
        return (
          <span
            key={index}
            class={piece.className}
            style={{ color: piece.color, backgroundColor: piece.background }}
          >
            {content}
          </span>
        );
      })}
    </>
  );
});

function marked(text: string, search: string) {
  const wanted = search.toLowerCase();
  const lower = text.toLowerCase();
  if (lower.length !== text.length) return text;
  const parts = [];
  let start = 0;
  for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, start)) {
    parts.push(text.slice(start, at), <mark key={at}>{text.slice(at, at + wanted.length)}</mark>);
    start = at + wanted.length;
  }
  return [...parts, text.slice(start)];
}
