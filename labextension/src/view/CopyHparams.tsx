/** A button that copies a trial's hyperparameters as Python source, and says whether that went well. */
import { useEffect, useState } from 'preact/hooks';

import { copyText } from './clipboard';
import { useView } from './context';
import { pythonLiteral } from './format';
import type { ITrial } from '../model/messages';

/** Browsers let a page write to the clipboard only shortly after a click. */
const COPY_TIMEOUT_MS = 2_000;

export interface ICopyHparamsProps {
  /** null while there is none to copy of. */
  trial: ITrial | null;
  className: string;
  label: string;
  title: string;
}

export function CopyHparams({ trial, className, label, title }: ICopyHparamsProps) {
  const { t, session } = useView();
  const [answer, setAnswer] = useState<string | null>(null);
  useEffect(() => {
    if (answer === null) return undefined;
    const timer = setTimeout(() => setAnswer(null), 2000);
    return () => clearTimeout(timer);
  }, [answer]);
  const copy = async (of: ITrial) => {
    // Rows carry shortened numbers: the trial's details have them as they were.
    let hparams = of.hparams;
    let isExact = true;
    try {
      hparams = (await session.trial(of.id, COPY_TIMEOUT_MS)).hparams ?? hparams;
    } catch (error) {
      isExact = false;
      console.info(`lagom: copied with shortened numbers: ${String(error)}`);
    }
    const isCopied = await copyText(pythonLiteral(hparams));
    setAnswer(!isCopied ? t.__('Not allowed') : isExact ? t.__('Copied') : t.__('Copied, rounded'));
  };
  return (
    <button
      type="button"
      class={className}
      disabled={trial === null}
      title={title}
      onClick={() => trial !== null && void copy(trial)}
    >
      {answer ?? label}
    </button>
  );
}
