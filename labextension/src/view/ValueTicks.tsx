/** The named values of a chart's left axis, with a line across the chart for each. */
import type { IValueAxis } from './ranges';

export interface IValueTicksProps {
  axis: IValueAxis;
  y: (value: number) => number;
  /** Where the lines begin and end; names stand before them. */
  left: number;
  right: number;
}

export function ValueTicks({ axis, y, left, right }: IValueTicksProps) {
  return (
    <>
      {axis.ticks.map(tick => (
        <g key={tick.value}>
          <line x1={left} x2={right} y1={y(tick.value)} y2={y(tick.value)} />
          <text x={left - 6} y={y(tick.value) + 4} text-anchor="end">
            {tick.text}
          </text>
        </g>
      ))}
    </>
  );
}
