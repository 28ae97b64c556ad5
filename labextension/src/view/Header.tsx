/** The head of a run: its names, its state, and the buttons that concern all of it. */
import { useEffect, useState } from 'preact/hooks';

import { copyText } from './clipboard';
import { useView } from './context';
import { useControl } from './control';
import { oneLine, pythonLiteral } from './format';
import { NAME_LIMIT, RUN_ICONS, isFinalRun, runStateWords } from './words';
import type { IRun, ITrial } from '../model/messages';

/** Browsers let a page write to the clipboard only shortly after a click. */
const COPY_TIMEOUT_MS = 2_000;

export function Header({ run, best }: { run: IRun; best: ITrial | null }) {
  const { t } = useView();
  return (
    <div class="lagom-Head">
      <h2 class="lagom-Head-name">
        {run.experiment === null ? t.__('run') : oneLine(run.experiment, NAME_LIMIT)}
      </h2>
      <span class={`lagom-Pill lagom-state-${run.state.toLowerCase()}`}>
        <span aria-hidden="true" class="lagom-Icon">
          {RUN_ICONS[run.state]}
        </span>
        {runStateWords(t, run)}
      </span>
      <span class="lagom-Head-id">{run.run_id === null ? '' : oneLine(run.run_id, NAME_LIMIT)}</span>
      <BoardButton />
      <CopyBestButton best={best} />
      {!isFinalRun(run.state) && <StopButton />}
    </div>
  );
}

function StopButton() {
  const { t } = useView();
  const [state, send] = useControl('stop', null);
  const isWaiting = state.phase === 'sent' || state.phase === 'accepted';
  return (
    <>
      <button
        type="button"
        class="lagom-Button lagom-mod-danger"
        disabled={isWaiting}
        onClick={() => void send()}
      >
        <span aria-hidden="true" class="lagom-Icon">
          ■
        </span>
        {isWaiting ? t.__('Stopping…') : t.__('Stop run')}
      </button>
      <Answer text={state.text} isError={state.phase === 'failed'} />
    </>
  );
}

function CopyBestButton({ best }: { best: ITrial | null }) {
  const { t, session } = useView();
  const [label, setLabel] = useState<string | null>(null);
  useEffect(() => {
    if (label === null) return undefined;
    const timer = setTimeout(() => setLabel(null), 2000);
    return () => clearTimeout(timer);
  }, [label]);
  const copy = async (trial: ITrial) => {
    // Rows carry shortened numbers: the trial's details have them as they were.
    let hparams = trial.hparams;
    let isExact = true;
    try {
      hparams = (await session.trial(trial.id, COPY_TIMEOUT_MS)).hparams ?? hparams;
    } catch (error) {
      isExact = false;
      console.info(`lagom: copied with shortened numbers: ${String(error)}`);
    }
    const isCopied = await copyText(pythonLiteral(hparams));
    setLabel(!isCopied ? t.__('Not allowed') : isExact ? t.__('Copied') : t.__('Copied, rounded'));
  };
  return (
    <button
      type="button"
      class="lagom-Button"
      disabled={best === null}
      title={t.__('Copy the best hyperparameters as a Python dict')}
      onClick={() => best !== null && void copy(best)}
    >
      {label ?? t.__('Copy best')}
    </button>
  );
}

function BoardButton() {
  const { t, session, openBoard } = useView();
  const [isOpening, setIsOpening] = useState(false);
  const [answer, setAnswer] = useState({ text: '', isError: false });
  const open = async () => {
    setIsOpening(true);
    setAnswer({ text: '', isError: false });
    try {
      if (openBoard !== undefined) {
        await openBoard();
      } else {
        const address = await session.board();
        setAnswer(
          address === null
            ? { text: t.__('TensorBoard did not say where it listens.'), isError: true }
            : {
                text: t.__('TensorBoard listens on port %1 of the kernel’s machine.', String(address.port)),
                isError: false
              }
        );
      }
    } catch (error) {
      setAnswer({
        text: oneLine(error instanceof Error ? error.message : String(error), 300),
        isError: true
      });
    } finally {
      setIsOpening(false);
    }
  };
  return (
    <>
      <button type="button" class="lagom-Button" disabled={isOpening} onClick={() => void open()}>
        {isOpening ? t.__('Opening…') : t.__('TensorBoard')}
      </button>
      <Answer text={answer.text} isError={answer.isError} />
    </>
  );
}

/** What a button's request brought, on a line of its own. */
export function Answer({ text, isError }: { text: string; isError: boolean }) {
  return (
    <span class={`lagom-Answer${isError ? ' lagom-mod-error' : ''}`} role="status">
      {text}
    </span>
  );
}
