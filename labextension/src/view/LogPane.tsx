/** What the trials print, as it comes: by worker or trial, searched, paused, copied and saved. */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';

import { plainText } from './ansi';
import { AnsiText } from './AnsiText';
import { copyText, saveText } from './clipboard';
import { useView } from './context';
import { formatCount } from './format';
import { useSize } from './hooks';
import { rowsInSight } from './virtual';
import type { ILine, LineRing } from '../model/lineRing';
import type { IWorker } from '../model/messages';

const LINE_HEIGHT = 18;
/** Colours that tell workers apart. */
const N_WORKER_COLOURS = 6;
const CHIP_LIMIT = 16;

export interface ILogPaneProps {
  ring: LineRing;
  /** The ring's lines: a new array after each change. */
  lines: readonly ILine[];
  workers: readonly IWorker[];
  /** Whether the workers are the ranks of one training. */
  areRanks: boolean;
  /** Show this trial's lines alone. */
  trialId: number | null;
  onTrial: (trial_id: number | null) => void;
  /** Whether no line can come any more. */
  isOver: boolean;
  fileName: string;
}

export function LogPane(props: ILogPaneProps) {
  const { ring, lines, workers, areRanks, trialId, onTrial, isOver, fileName } = props;
  const { t } = useView();
  const [workerId, setWorkerId] = useState<number | null>(null);
  const [search, setSearch] = useState('');
  const [pausedAt, setPausedAt] = useState<number | null>(null);
  const [isCopied, setIsCopied] = useState(false);
  const shown = useMemo(
    () => chosenLines(lines, trialId, trialId === null ? workerId : null, search, pausedAt),
    [lines, trialId, workerId, search, pausedAt]
  );
  useEffect(() => {
    if (!isCopied) return undefined;
    const timer = setTimeout(() => setIsCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [isCopied]);
  const wholeText = () => shown.map(line => `${plainText(line.text)}\n`).join('');
  const nNew = pausedAt === null ? 0 : ring.end - pausedAt;
  const choose = (id: number | null) => {
    setWorkerId(id);
    onTrial(null);
  };
  return (
    <section class="lagom-Log" aria-label={t.__('Prints')}>
      <div class="lagom-Toolbar">
        <div class="lagom-Chips" role="group" aria-label={t.__('Whose prints')}>
          <Chip isOn={workerId === null && trialId === null} onClick={() => choose(null)}>
            {t.__('all')}
          </Chip>
          {workers.slice(0, CHIP_LIMIT).map(worker => (
            <Chip
              key={worker.id}
              isOn={workerId === worker.id && trialId === null}
              onClick={() => choose(worker.id)}
            >
              {areRanks ? `r${worker.id - 1}` : `w${worker.id}`}
            </Chip>
          ))}
          {trialId !== null && (
            <Chip isOn onClick={() => onTrial(null)} label={t.__('Show the prints of all trials again')}>
              {`${t.__('trial %1', String(trialId))} ×`}
            </Chip>
          )}
        </div>
        <div class="lagom-Tools">
          <span class="lagom-Toolbar-note">
            {t._n('%2 line', '%2 lines', shown.length, formatCount(shown.length))}
            {ring.nSkipped > 0 && ` · ${t.__('%1 skipped', formatCount(ring.nSkipped))}`}
          </span>
          <input
            type="search"
            class="lagom-Input lagom-mod-short"
            value={search}
            placeholder={t.__('Search')}
            aria-label={t.__('Search in prints')}
            onInput={event => setSearch((event.currentTarget as HTMLInputElement).value)}
            onKeyDown={event => event.stopPropagation()}
          />
          {(!isOver || pausedAt !== null) && (
            <button
              type="button"
              class="lagom-Button"
              aria-pressed={pausedAt !== null}
              onClick={() => setPausedAt(pausedAt === null ? ring.end : null)}
            >
              {pausedAt === null
                ? t.__('Pause')
                : nNew > 0
                  ? t.__('Go on (%1 new)', formatCount(nNew))
                  : t.__('Go on')}
            </button>
          )}
          <button
            type="button"
            class="lagom-Button"
            onClick={() => void copyText(wholeText()).then(setIsCopied)}
          >
            {isCopied ? t.__('Copied') : t.__('Copy')}
          </button>
          <button type="button" class="lagom-Button" onClick={() => saveText(`${fileName}.log`, wholeText())}>
            {t.__('Download')}
          </button>
        </div>
      </div>
      <Lines lines={shown} search={search.trim()} isOver={isOver} />
    </section>
  );
}

interface ILinesProps {
  lines: readonly ILine[];
  search: string;
  isOver: boolean;
}

function Lines({ lines, search, isOver }: ILinesProps) {
  const { t } = useView();
  const box = useRef<HTMLDivElement>(null);
  const { height } = useSize(box, { width: 800, height: 160 });
  const [scrollTop, setScrollTop] = useState(0);
  const [isFollowing, setIsFollowing] = useState(true);
  const { begin, end } = rowsInSight(lines.length, LINE_HEIGHT, scrollTop, height);
  useLayoutEffect(() => {
    if (box.current === null || !isFollowing) return;
    box.current.scrollTop = box.current.scrollHeight;
    setScrollTop(box.current.scrollTop);
  }, [lines, isFollowing]);
  const scrolled = (element: HTMLElement) => {
    setScrollTop(element.scrollTop);
    setIsFollowing(element.scrollTop + element.clientHeight >= element.scrollHeight - LINE_HEIGHT);
  };
  return (
    <div class="lagom-Log-frame">
      <div
        class={`lagom-Log-box${lines.length === 0 ? ` lagom-mod-empty${isOver ? ' lagom-mod-small' : ''}` : ''}`}
        ref={box}
        role="log"
        aria-live="off"
        aria-label={t.__('Printed lines')}
        tabIndex={0}
        onScroll={event => scrolled(event.currentTarget as HTMLElement)}
      >
        {lines.length === 0 ? (
          <p class="lagom-Empty">{t.__('Nothing printed here.')}</p>
        ) : (
          <div class="lagom-Log-lines" style={{ height: `${lines.length * LINE_HEIGHT}px` }}>
            <div style={{ transform: `translateY(${begin * LINE_HEIGHT}px)` }}>
              {lines.slice(begin, end).map(line => (
                <Line key={line.number} line={line} search={search} />
              ))}
            </div>
          </div>
        )}
      </div>
      {!isFollowing && (
        <button type="button" class="lagom-Button lagom-Log-end" onClick={() => setIsFollowing(true)}>
          {t.__('↓ Latest')}
        </button>
      )}
    </div>
  );
}

function Line({ line, search }: { line: ILine; search: string }) {
  const cut = line.worker_id === null ? 0 : line.text.indexOf(']') + 1;
  return (
    <div class="lagom-Log-line">
      {cut > 0 && (
        <span class={`lagom-worker-${(line.worker_id ?? 0) % N_WORKER_COLOURS}`}>
          {line.text.slice(0, cut)}
        </span>
      )}
      <AnsiText line={line.text.slice(cut)} search={search} />
    </div>
  );
}

interface IChipProps {
  isOn: boolean;
  onClick: () => void;
  label?: string;
  children: string;
}

function Chip({ isOn, onClick, label, children }: IChipProps) {
  return (
    <button type="button" class="lagom-Chip" aria-pressed={isOn} aria-label={label} onClick={onClick}>
      {children}
    </button>
  );
}

function chosenLines(
  lines: readonly ILine[],
  trialId: number | null,
  workerId: number | null,
  search: string,
  pausedAt: number | null
): readonly ILine[] {
  const wanted = search.trim().toLowerCase();
  if (trialId === null && workerId === null && wanted === '' && pausedAt === null) return lines;
  return lines.filter(
    line =>
      (pausedAt === null || line.number < pausedAt) &&
      (trialId === null || line.trial_id === trialId) &&
      (workerId === null || line.worker_id === workerId) &&
      (wanted === '' || plainText(line.text).toLowerCase().includes(wanted))
  );
}
