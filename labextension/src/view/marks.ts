/** How charts mark the trial that the pointer is on and the one that is open: the same way in all of them. */

/** The classes of the trial's curve, line or dot; '' for a trial like others. */
export function markClass(trial_id: number, pickedId: number | null, hoveredId: number | null): string {
  const hovered = trial_id === hoveredId ? ' lagom-mod-hovered' : '';
  return trial_id === pickedId || hovered !== '' ? ` lagom-mod-strong${hovered}` : '';
}
