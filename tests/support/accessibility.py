"""What axe-core finds wrong in a part of a page."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
#: Without JupyterLab's own button of toolbars, which has an attribute that its role does not know.
SCAN = """
async element => {
  const options = { resultTypes: ['violations'], iframes: false };
  const { violations } = await axe.run({ include: element, exclude: 'jp-button' }, options);
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(node => `${id}: ${node.html} ${node.failureSummary}`));
}
"""


def violations(element: Locator) -> str:
    """The serious and critical ones inside the element, to be read; '' when there are none."""
    if not element.page.evaluate("() => 'axe' in window"):
        element.page.add_script_tag(path=AXE)
    return "\n".join(element.evaluate(SCAN))
