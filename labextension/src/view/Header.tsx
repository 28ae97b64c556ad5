/** The head of a run: its names, its state, and the buttons that concern all of it. */
import { useState } from 'preact/hooks';

import { useView } from './context';
import { useControl } from './control';
import { CopyHparams } from './CopyHparams';
import { oneLine } from './format';
import { NAME_LIMIT, RUN_ICONS, isAblation, isFinalRun, runStateWords } from './words';
import type { IRun, ITrial } from '../model/messages';

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
      {!isAblation(run) && (
        <CopyHparams
          trial={best}
          className="lagom-Button"
          label={t.__('Copy best')}
          title={t.__('Copy the best hyperparameters as a Python dict')}
        />
      )}
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
