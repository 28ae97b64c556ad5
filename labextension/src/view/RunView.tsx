/** The view of one run: what `mount` puts into the page. Holds what a person has chosen; the run itself is the model's. */
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';

import { Ablation } from './Ablation';
import { BestSoFar } from './BestSoFar';
import { useNeededWidths } from './columnWidths';
import { columnsOf, defaultSorting } from './columns';
import type { ISorting } from './columns';
import { ViewProvider, useView } from './context';
import type { IRunViewOptions, IViewContext } from './context';
import { Curves } from './Curves';
import { formatCount, oneLine } from './format';
import { Header } from './Header';
import { useCalm, useNow, useRevision } from './hooks';
import { Importance, TRIALS_FOR_IMPORTANCE } from './Importance';
import { LogPane } from './LogPane';
import { Notices, failedTrials } from './Notices';
import { Parallel } from './Parallel';
import { ProgressBar, Tiles } from './Tiles';
import { TrialPanel } from './TrialPanel';
import { TrialTable } from './TrialTable';
import { isAblation, isFinalRun, settingsWords, summaryWords } from './words';
import { ENGLISH } from '../i18n';
import type { ITranslator } from '../i18n';
import type { IRun } from '../model/messages';
import type { RunSession } from '../model/session';
import type { ConnectionState } from '../transport/transport';

const SUMMARY_INTERVAL_MS = 10_000;
/** Charts of a living run with more trials than these are drawn at most once in this time. */
const CHART_TRIALS = 200;
const CHART_INTERVAL_MS = 1_000;
/** An ablation of more trials shows them folded: its components are what is to be seen. */
const UNFOLDED_TRIALS = 12;

export function RunView(options: IRunViewOptions) {
  const { session, translator, folder, openBoard, control } = options;
  const context: IViewContext = useMemo(
    () => ({ session, translator, folder, openBoard, control, t: translator ?? ENGLISH }),
    [session, translator, folder, openBoard, control]
  );
  const revision = useRevision(session.model);
  const connection = useConnection(session);
  const { run } = session.model;
  const { t } = context;
  const label = run?.experiment ? t.__('run of %1', oneLine(run.experiment, 40)) : t.__('run');
  return (
    <ViewProvider value={context}>
      {/* The second and third class keep MathJax from typesetting what stands between dollar signs; the attribute keeps
          a notebook from taking the arrow keys and Enter for its own while one of our buttons has the focus. */}
      <div
        class="lagom-View tex2jax_ignore mathjax_ignore"
        data-lm-suppress-shortcuts="true"
        role="group"
        aria-label={label}
      >
        {run === null ? (
          <Waiting connection={connection} />
        ) : (
          <Content run={run} revision={revision} context={context} connection={connection} />
        )}
      </div>
    </ViewProvider>
  );
}

interface IContentProps {
  run: IRun;
  revision: number;
  context: IViewContext;
  connection: ConnectionState;
}

function Content({ run: told, revision, context, connection }: IContentProps) {
  const { t, session, folder } = context;
  const { model } = session;
  // The trials of an ablation do not compete: none is the best.
  const run = useMemo(() => (isAblation(told) ? { ...told, best_id: null } : told), [told]);
  const { ablation } = model;
  const isOver = isFinalRun(run.state);
  const now = useNow(!isOver) + model.clockOffsetS;
  const [sorting, setSorting] = useState<ISorting | null>(null);
  const [filter, setFilter] = useState('');
  const [pickedId, setPickedId] = useState<number | null>(null);
  const [hoveredId, setHoveredId] = useState<number | null>(null);
  /** What a person wants of trials that can be folded; null before that. */
  const [areTrialsOpen, setTrialsOpen] = useState<boolean | null>(null);
  const [logTrialId, setLogTrialId] = useState<number | null>(null);
  const root = useRef<HTMLDivElement>(null);
  const trials = useMemo(() => [...model.trials.values()], [model, revision]);
  const best = run.best_id === null ? null : (model.trials.get(run.best_id) ?? null);
  const picked = pickedId === null ? null : (model.trials.get(pickedId) ?? null);
  const columns = useMemo(() => columnsOf(t, run, trials), [t, run, trials]);
  const neededWidths = useNeededWidths(columns, trials, now);
  const failed = useMemo(() => failedTrials(run, trials), [run, trials]);
  // What was hovered may be gone with what is opened in its place.
  const open = useCallback((trial_id: number) => {
    setPickedId(trial_id);
    setHoveredId(null);
    setTrialsOpen(true);
  }, []);
  const summary = useCalm(summaryWords(t, run, best, ablation), SUMMARY_INTERVAL_MS);
  const picture = useMemo(
    () => ({ run, trials, now, names: columns.varying }),
    [run, trials, columns, Math.floor(now)]
  );
  const calmPicture = useCalm(picture, CHART_INTERVAL_MS);
  const charted = isOver || trials.length <= CHART_TRIALS ? picture : calmPicture;
  const charts = useMemo(
    () => (
      <>
        <Curves
          run={charted.run}
          trials={charted.trials}
          pickedId={pickedId}
          hoveredId={hoveredId}
          onHover={setHoveredId}
          onOpen={open}
        />
        {charted.run.improvements.length > 0 && !isAblation(charted.run) && (
          <BestSoFar
            run={charted.run}
            trials={charted.trials}
            now={charted.now}
            pickedId={pickedId}
            hoveredId={hoveredId}
          />
        )}
      </>
    ),
    [charted, pickedId, hoveredId]
  );
  const parallel = useMemo(
    () => (
      <Parallel
        run={charted.run}
        trials={charted.trials}
        names={charted.names}
        pickedId={pickedId}
        hoveredId={hoveredId}
      />
    ),
    [charted, pickedId, hoveredId]
  );
  const isFolding = isAblation(run) && trials.length > 0;
  const isFolded = isFolding && !(areTrialsOpen ?? (run.n_trials ?? Infinity) <= UNFOLDED_TRIALS);
  const showTrialsOf = (component: string) => {
    setFilter(`component="${component}"`);
    setTrialsOpen(true);
  };
  const close = () => {
    setPickedId(null);
    root.current
      ?.querySelector<HTMLElement>(`button[data-row='${pickedId}']`)
      ?.focus({ preventScroll: true });
  };
  return (
    <div ref={root} style={{ '--lagom-needed': `${neededWidths.reduce((sum, one) => sum + one, 0)}px` }}>
      <Header run={run} best={best} />
      <ProgressBar run={run} />
      <p class="lagom-unseen" role="status">
        {summary}
      </p>
      <Tiles
        run={run}
        best={best}
        ablation={ablation}
        trials={model.trials}
        workers={model.workers}
        now={now}
        onFilter={text => {
          setFilter(old => (old === text ? '' : text));
          setTrialsOpen(true);
        }}
        onOpen={open}
      />
      <Notices run={run} connection={connectionWords(t, connection, isOver)} failed={failed} onOpen={open} />
      {isAblation(run) && ablation !== null && (
        <Ablation run={run} ablation={ablation} onTrials={showTrialsOf} />
      )}
      {isFolding && (
        <button
          type="button"
          class="lagom-Fold"
          aria-expanded={!isFolded}
          onClick={() => setTrialsOpen(isFolded)}
        >
          <span aria-hidden="true" class="lagom-Icon">
            {isFolded ? '▸' : '▾'}
          </span>
          {t._n('%2 trial', '%2 trials', trials.length, formatCount(trials.length))}
        </button>
      )}
      {isFolded ? null : trials.length === 0 ? (
        <div class="lagom-Columns lagom-mod-single">
          {isOver ? (
            <p class="lagom-Empty">{t.__('No trial has started.')}</p>
          ) : (
            <Waiting connection={connection} />
          )}
        </div>
      ) : (
        <div class={`lagom-Columns${picked === null ? '' : ' lagom-mod-panel'}`}>
          <TrialTable
            run={run}
            trials={trials}
            columns={columns}
            neededWidths={neededWidths}
            now={now}
            sorting={sorting ?? defaultSorting(run)}
            onSort={setSorting}
            filter={filter}
            onFilter={setFilter}
            pickedId={pickedId}
            onHover={setHoveredId}
            onOpen={open}
          />
          <div class="lagom-Side">
            {picked !== null ? (
              <TrialPanel
                key={`${picked.id}.${picked.attempt}`}
                run={run}
                trial={picked}
                now={now}
                onClose={close}
                onPrints={setLogTrialId}
              />
            ) : (
              charts
            )}
          </div>
        </div>
      )}
      {run.counts.COMPLETE >= TRIALS_FOR_IMPORTANCE && !isAblation(run) && columns.varying.length > 0 && (
        <div class="lagom-Space">
          {parallel}
          <Importance nComplete={run.counts.COMPLETE} />
        </div>
      )}
      <LogPane
        ring={model.lines}
        lines={model.lines.lines}
        workers={model.workers}
        areRanks={run.kind === 'train'}
        trialId={logTrialId}
        onTrial={setLogTrialId}
        isOver={isOver}
        fileName={run.run_id ?? 'run'}
      />
      <div class="lagom-Foot">
        <span>{settingsWords(t, run)}</span>
        {folder !== undefined && folder !== '' && (
          <span class="lagom-Foot-folder">{oneLine(folder, 300)}</span>
        )}
        <span class="lagom-grow" />
        {!isOver && <span>{t.__('■ in the toolbar also stops the run')}</span>}
      </div>
    </div>
  );
}

/** Before there is anything to show: what is being waited for. */
function Waiting({ connection }: { connection: ConnectionState }) {
  const { t } = useView();
  return (
    <p class="lagom-Waiting" role="status">
      <span class="lagom-Waiting-dots" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      {connection === 'closed'
        ? t.__('The kernel of this run is gone.')
        : t.__('waiting for the first worker…')}
    </p>
  );
}

function useConnection(session: RunSession): ConnectionState {
  const [state, setState] = useState(session.connection);
  useEffect(() => {
    setState(session.connection);
    return session.onConnection(setState);
  }, [session]);
  return state;
}

/** What to say when news cannot come; '' when they can, or when there are none any more. */
function connectionWords(t: ITranslator, connection: ConnectionState, isOver: boolean): string {
  if (connection === 'open' || isOver) return '';
  return connection === 'connecting'
    ? t.__('Connecting to the run again…')
    : t.__('The kernel of this run is gone.');
}
