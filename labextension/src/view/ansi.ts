/** A printed line as coloured pieces of plain text; terminal escapes that are no colours are dropped. */
import Anser from 'anser';

import { visible } from './format';

export interface IPiece {
  readonly text: string;
  /** Classes of our style sheet. */
  readonly className: string;
  /** A colour outside the sixteen: 'rgb(1, 2, 3)'. */
  readonly color?: string;
  readonly background?: string;
}

/** Strings (titles, hyperlinks, …) with what ends them, control sequences other than colours, and short escapes. */
const NO_COLOURS =
  /\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|\x1b\[[0-?]*[ -/]*(?!m)[@-~]|\x1b\[[<-?][0-?]*[ -/]*[@-~]|\x1b(?!\[)[ -/]*[0-~]/g;
const COLOURS = /\x1b\[[\d;]*m/g;
const RGB = /^\d{1,3}, ?\d{1,3}, ?\d{1,3}$/;
const DECORATIONS: readonly string[] = ['bold', 'dim', 'italic', 'underline', 'strikethrough', 'reverse'];

/** The line's pieces; of a line that overwrites itself (a progress bar) what stands there at its end. */
export function ansiPieces(line: string): IPiece[] {
  const last = lastOverwrite(line);
  if (!last.includes('\x1b')) return [{ text: visible(last), className: '' }];
  const pieces: IPiece[] = [];
  for (const part of Anser.ansiToJson(last.replace(NO_COLOURS, ''), {
    json: true,
    remove_empty: true,
    use_classes: true
  })) {
    const color = colourOf(part.fg, part.fg_truecolor);
    const background = colourOf(part.bg, part.bg_truecolor);
    const classes = [
      color?.className ? `lagom-fg-${color.className}` : '',
      background?.className ? `lagom-bg-${background.className}` : '',
      ...DECORATIONS.filter(name => (part.decorations as readonly string[]).includes(name)).map(
        name => `lagom-is-${name}`
      )
    ];
    pieces.push({
      text: visible(part.content),
      className: classes.filter(Boolean).join(' '),
      color: color?.rgb,
      background: background?.rgb
    });
  }
  return pieces;
}

/** The line without any escape. */
export function plainText(line: string): string {
  const last = lastOverwrite(line);
  return visible(last.includes('\x1b') ? last.replace(NO_COLOURS, '').replace(COLOURS, '') : last);
}

function lastOverwrite(line: string): string {
  if (!line.includes('\r')) return line;
  const parts = line.split('\r').filter(part => part !== '');
  const prefix = /^\[[wr]\d+(?: t\d+(?:\.\d+)?)?\] /.exec(line)?.[0] ?? '';
  const last = parts.length > 0 ? parts[parts.length - 1] : '';
  return last.startsWith(prefix) ? last : prefix + last;
}

function colourOf(
  name: string | null,
  trueColour: string | null
): { className?: string; rgb?: string } | null {
  if (!name) return null;
  if (name === 'ansi-truecolor')
    return trueColour !== null && RGB.test(trueColour) ? { rgb: `rgb(${trueColour})` } : null;
  const palette = /^ansi-palette-(\d+)$/.exec(name);
  if (palette !== null) return { rgb: paletteColour(Number(palette[1])) };
  return /^ansi-[a-z-]+$/.test(name) ? { className: name.slice('ansi-'.length) } : null;
}

/** xterm's colours 16 to 255: a cube of six levels each, then greys. */
function paletteColour(index: number): string {
  if (index >= 232) {
    const grey = 8 + 10 * (index - 232);
    return `rgb(${grey}, ${grey}, ${grey})`;
  }
  const level = (n: number) => (n === 0 ? 0 : 55 + 40 * n);
  const cube = index - 16;
  return `rgb(${level(Math.floor(cube / 36))}, ${level(Math.floor(cube / 6) % 6)}, ${level(cube % 6)})`;
}
