/** One trial in full: what it was given, what it reported, why it failed, what it printed and what it left. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

import { useDetails, useLog } from './answers';
import type { ILog } from './answers';
import { AnsiText } from './AnsiText';
import { Artifacts } from './Artifacts';
import { useView } from './context';
import { useControl } from './control';
import { CopyHparams } from './CopyHparams';
import { formatClosely, formatDuration, formatHparam, formatNumber, oneLine, visible } from './format';
import { Answer } from './Header';
import { MetricCurve } from './MetricCurve';
import {
  TRIAL_ICONS,
  errorKind,
  isFinalRun,
  ranksOf,
  requeueWords,
  trialElapsedS,
  trialLabel,
  trialStateWord,
  workersOf
} from './words';
import type { ControlAction, IRun, ITrial } from '../model/messages';

export interface ITrialPanelProps {
  run: IRun;
  trial: ITrial;
  now: number;
  onClose: () => void;
  /** Show the trial's prints in the log. */
  onPrints: (trial_id: number) => void;
}

export function TrialPanel({ run, trial, now, onClose, onPrints }: ITrialPanelProps) {
  const { t } = useView();
  const details = useDetails(trial);
  const log = useLog(trial);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), [trial.id]);
  const state = `lagom-state-${trial.state.toLowerCase()}`;
  const hparams = details.value?.hparams ?? trial.hparams;
  const elapsed_s = trialElapsedS(trial, now);
  const facts = [
    trial.worker_id === null || trial.world_size > 1 ? '' : t.__('worker %1', `w${trial.worker_id}`),
    trial.world_size > 1 ? workersOf(t, trial) : '',
    ranksOf(t, trial),
    trial.attempt > 1 ? t.__('attempt %1', String(trial.attempt)) : '',
    trial.step === null ? '' : t.__('step %1', formatNumber(trial.step)),
    elapsed_s === null ? '' : formatDuration(elapsed_s)
  ].filter(fact => fact !== '');
  return (
    <section
      class="lagom-Panel"
      aria-label={t.__('trial %1', trialLabel(trial))}
      onKeyDown={event => {
        if (event.key !== 'Escape') return;
        event.stopPropagation();
        onClose();
      }}
    >
      <div class="lagom-Panel-head">
        <h3 ref={heading} tabIndex={-1}>
          {t.__('trial %1', trialLabel(trial))}
          {trial.id === run.best_id && <span title={t.__('best')}> ★</span>}
        </h3>
        <span class={`lagom-Pill ${state}`}>
          <span aria-hidden="true" class="lagom-Icon">
            {TRIAL_ICONS[trial.state]}
          </span>
          {trialStateWord(t, trial.state)}
        </span>
        <span class="lagom-grow" />
        {trial.state === 'RUNNING' && (
          <Steer action="prune" trial={trial} label={t.__('Prune')} sent={t.__('Pruning…')} />
        )}
        {(trial.state === 'FAILED' || trial.state === 'STOPPED') && !isFinalRun(run.state) && (
          <Steer action="retry" trial={trial} label={t.__('Retry')} sent={t.__('Retrying…')} />
        )}
        <button
          type="button"
          class="lagom-Button lagom-mod-icon"
          aria-label={t.__('Close')}
          title={t.__('Close')}
          onClick={onClose}
        >
          ✕
        </button>
      </div>
      <p class="lagom-Panel-facts">{facts.join(' · ')}</p>
      {details.error !== '' && <p class="lagom-Answer lagom-mod-error">{oneLine(details.error, 300)}</p>}
      {(details.value?.requeue_reason ?? '') !== '' && (
        <p class="lagom-Panel-note">
          {t.__('given again because: %1', requeueWords(t, details.value?.requeue_reason ?? ''))}
        </p>
      )}
      <Failure trial={trial} traceback={details.value?.error?.traceback ?? ''} />
      <Pairs
        title={t.__('Hyperparameters')}
        pairs={Object.entries(hparams).map(([name, value]) => pairOf(name, value))}
      >
        <CopyHparams
          trial={trial}
          className="lagom-Link"
          label={t.__('copy')}
          title={t.__('Copy these hyperparameters as a Python dict')}
        />
      </Pairs>
      <Pairs
        title={t.__('Metrics')}
        pairs={Object.entries(details.value?.metrics ?? trial.metrics).map(([name, value]) =>
          pairOf(name, value)
        )}
      />
      {Object.entries(details.value?.curves ?? {})
        .filter(([, points]) => points.length > 1)
        .map(([name, points]) => (
          <MetricCurve key={name} name={name} points={points} state={trial.state} />
        ))}
      <Pairs
        title={t.__('Returned')}
        pairs={Object.entries(details.value?.values ?? {}).map(([name, text]) => ({
          name,
          text,
          isNumber: false
        }))}
      />
      {(details.value?.warnings.length ?? 0) > 0 && (
        <section>
          <h4>{t.__('Warnings')}</h4>
          <ul class="lagom-Panel-warnings">
            {details.value?.warnings.map((warning, index) => (
              <li key={index}>{visible(warning)}</li>
            ))}
          </ul>
        </section>
      )}
      {details.value !== null && details.value.files.length > 0 && (
        <Artifacts
          key={`${trial.id}.${details.value.attempt}`}
          trial_id={trial.id}
          attempt={details.value.attempt}
          files={details.value.files}
        />
      )}
      <Prints log={log} onPrints={() => onPrints(trial.id)} />
      {(details.value?.dir ?? '') !== '' && (
        <p class="lagom-Panel-dir">{oneLine(details.value?.dir ?? '', 200)}</p>
      )}
    </section>
  );
}

function Failure({ trial, traceback }: { trial: ITrial; traceback: string }) {
  const { t } = useView();
  if (trial.error === null) return null;
  return (
    <section class="lagom-Failure">
      <p>
        <strong>{errorKind(t, trial.error)}</strong>
        {trial.error.message !== '' && `: ${oneLine(trial.error.message, 300)}`}
      </p>
      {traceback !== '' && (
        <details open>
          <summary>{t.__('Traceback')}</summary>
          <pre tabIndex={0}>
            <AnsiLines text={traceback} />
          </pre>
        </details>
      )}
    </section>
  );
}

function Prints({ log, onPrints }: { log: ILog; onPrints: () => void }) {
  const { t } = useView();
  const box = useRef<HTMLPreElement>(null);
  const end = log.value?.end ?? 0;
  // The latest prints are in sight first, and again when more come.
  useEffect(() => {
    if (box.current !== null) box.current.scrollTop = box.current.scrollHeight;
  }, [end]);
  return (
    <section>
      <h4>
        {t.__('Prints')}
        <button type="button" class="lagom-Link" onClick={onPrints}>
          {t.__('show in the log')}
        </button>
      </h4>
      {log.error !== '' && <p class="lagom-Answer lagom-mod-error">{oneLine(log.error, 300)}</p>}
      {log.value !== null && log.value.begin > 0 && (
        <button type="button" class="lagom-Link" onClick={log.askEarlier}>
          {t.__('Earlier lines')}
        </button>
      )}
      {log.value !== null && log.value.text === '' && (
        <p class="lagom-Empty">{t.__('It printed nothing.')}</p>
      )}
      {log.value !== null && log.value.text !== '' && (
        <pre class="lagom-Panel-log" tabIndex={0} ref={box}>
          <AnsiLines text={log.value.text} />
        </pre>
      )}
    </section>
  );
}

/** Lines that are drawn of a text: the last ones; the files have all. */
const DRAWN_LINES = 1_000;

function AnsiLines({ text }: { text: string }) {
  const { t } = useView();
  const lines = text.replace(/\n$/, '').split('\n');
  const nLeftOut = Math.max(0, lines.length - DRAWN_LINES);
  return (
    <>
      {nLeftOut > 0 && `${t._n('… %1 line before', '… %1 lines before', nLeftOut)}\n`}
      {lines.slice(nLeftOut).map((line, index) => (
        <span key={nLeftOut + index}>
          <AnsiText line={line.length > 4_000 ? `${line.slice(0, 4_000)}…` : line} search="" />
          {'\n'}
        </span>
      ))}
    </>
  );
}

interface IPair {
  readonly name: string;
  readonly text: string;
  /** The whole number, where the text is rounded. */
  readonly whole?: string;
  /** Numbers stay in one line. */
  readonly isNumber: boolean;
}

interface IPairsProps {
  title: string;
  pairs: readonly IPair[];
  /** Stands beside the title. */
  children?: ComponentChildren;
}

function Pairs({ title, pairs, children }: IPairsProps) {
  if (pairs.length === 0) return null;
  return (
    <section>
      <h4>
        {title}
        {children}
      </h4>
      <dl class="lagom-Pairs">
        {pairs.map(({ name, text, whole, isNumber }) => (
          <div key={name}>
            <dt>{oneLine(name, 80)}</dt>
            <dd class={isNumber ? 'lagom-mod-number' : ''} title={whole}>
              {visible(text)}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function pairOf(name: string, value: unknown): IPair {
  if (typeof value !== 'number') return { name, text: formatHparam(value, 2_000), isNumber: false };
  const text = formatClosely(value);
  return { name, text, isNumber: true, whole: Number.isFinite(value) ? String(value) : text };
}

interface ISteerProps {
  action: ControlAction;
  trial: ITrial;
  label: string;
  sent: string;
}

/** A button that steers this trial, until its state changes. */
function Steer({ action, trial, label, sent }: ISteerProps) {
  const [state, send] = useControl(action, trial.id);
  const isWaiting = state.phase === 'sent' || state.phase === 'accepted';
  return (
    <>
      <button type="button" class="lagom-Button" disabled={isWaiting} onClick={() => void send()}>
        {isWaiting ? sent : label}
      </button>
      <Answer text={state.text} isError={state.phase === 'failed'} />
    </>
  );
}
