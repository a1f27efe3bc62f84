"""The report's viewers, used as a reader uses them."""

from __future__ import annotations

from typing import Any

from support.browser import Page

FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Viewer:
    """An opened viewer of a page: the one of a kind (``image``, ``points``) with a number."""

    def __init__(self, page: Page, kind: str, number: int = 0) -> None:
        self.page = page
        self.section = f"document.querySelectorAll('details.closer[data-viewer={kind}]')[{number}]"
        self.me = f"{self.section}.querySelector('.viewer').viewer"
        page.reach(f"{self.section}.querySelector('summary')")
        page.run(f"{self.section}.querySelector('summary').click()")
        page.until(f"{self.me}?.ready || {self.section}.querySelector('.missing')")
        assert page.run(f"{self.section}.querySelector('.missing')?.textContent ?? ''") == ""

    def run(self, script: str) -> Any:
        """Evaluate JavaScript in which ``me`` is the viewer, then wait until it was drawn."""
        value = self.page.run(f"((me) => {{ return {script}; }})({self.me})")
        self.page.run(FRAME)
        return value

    def press(self, text: str) -> None:
        """Click one of the viewer's buttons."""
        buttons = f"[...{self.section}.querySelectorAll('button')]"
        find = f"{buttons}.find((one) => one.textContent === '{text}')"
        left, top, width, height = self.page.reach(find)
        self.page.click(left + width / 2, top + height / 2)
        self.page.run(FRAME)

    def choose(self, label: str, value: str) -> None:
        """Choose from one of the viewer's lists."""
        self.page.run(f"""(() => {{
            const label = [...{self.section}.querySelectorAll('label')]
                .find((one) => one.textContent.startsWith('{label}'));
            const list = label.querySelector('select');
            list.value = '{value}';
            list.dispatchEvent(new Event('change'));
        }})()""")
        self.page.run(FRAME)

    def said(self) -> str:
        """Return what the viewer says of the place under the pointer."""
        return str(self.page.run(f"{self.section}.querySelector('output.value').textContent"))


class Picture(Viewer):
    """The image viewer."""

    def __init__(self, page: Page, number: int = 0) -> None:
        super().__init__(page, "image", number)

    def point(self, x: int, y: int) -> dict[str, float]:
        """Move the mouse to a pixel; return what is read there, as numbers."""
        left, top, wide, high = self.page.reach(f"{self.me}.stage")
        middle_x, middle_y, zoom = self.run("[me.view.x, me.view.y, me.view.zoom]")
        self.page.mouse(
            "mouseMoved",
            left + wide / 2 + (x + 0.5 - middle_x) * zoom,
            top + high / 2 - (y + 0.5 - middle_y) * zoom,
        )
        self.page.run(FRAME)
        return {
            key: float(value or "nan") for key, value in self.run("({...me.value.dataset})").items()
        }

    def colour(self, x: int, y: int) -> list[int]:
        """Return the colour (red, green, blue, alpha) in which a pixel is drawn."""
        script = f"""(() => {{
            const {{ view: {{ x, y, zoom }}, canvas: {{ width, height }} }} = me;
            const scale = zoom * devicePixelRatio;
            const left = width / 2 + ({x} + .5 - x) * scale;
            const top = height / 2 - ({y} + .5 - y) * scale;
            const copy = new OffscreenCanvas(1, 1).getContext("2d", {{ willReadFrequently: true }});
            copy.drawImage(me.canvas, left, top, 1, 1, 0, 0, 1, 1);
            return [...copy.getImageData(0, 0, 1, 1).data];
        }})()"""
        return [int(one) for one in self.run(script)]


class Plots(Viewer):
    """The plot viewer."""

    def __init__(self, page: Page, number: int = 0) -> None:
        super().__init__(page, "points", number)

    def place(self, panel: int, index: int) -> tuple[float, float]:
        """Return where in a panel's plot, in pixels, a point is drawn."""
        x, y = self.run(f"""(({{ y, chart }}) => [
            chart.valToPos(me.columns[me.x.key].get({index}), "x"),
            chart.valToPos(me.columns[y.key].get({index}), "y"),
        ])(me.panels[{panel}])""")
        return x, y

    def point(self, panel: int, index: int) -> int | None:
        """Move the mouse to a point; return the number of the point that is named."""
        left, top, _, _ = self.page.reach(f"{self.me}.panels[{panel}].chart.over")
        x, y = self.place(panel, index)
        self.page.mouse("mouseMoved", left + x, top + y)
        near: int | None = self.run("me.near")
        return near
