"""The page itself, by NiceGUI: what is shown is decided in `rows.py` and `charts.py`.

A page is built once and then told what has changed, once a second; only what can be seen is sent.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from nicegui import app, ui

from bus.messages import Feedback
from cans.dashboard import charts, rows
from cans.dashboard.site import Seen
from cans.dashboard.source import Recorded, Source

EVERY_S = 1.0
_DARK = "dark"
_PREFERS_DARK = "window.matchMedia('(prefers-color-scheme: dark)').matches"
_PLACES = {
    "/": "Site",
    "/devices": "Devices",
    "/learning": "Learning",
    "/edges": "Edge workers",
    "/alarms": "Alarms",
    "/broker": "Broker",
}
_STYLE = """
<style>
  .cans-link { color: #005a9c; text-decoration: underline; }
  body.body--dark .cans-link { color: #7cc4ff; }
  body.body--dark .cans-header { background: #10222f; }
  .cans-header { background: #00355c; }
  .cans-scroll .q-table__container, .cans-scroll .q-table__middle { overflow: visible; }
  .q-table th, .q-table td { font-size: 0.9rem; }
  a:focus-visible, button:focus-visible { outline: 3px solid #e69f00; outline-offset: 2px; }
</style>
"""
Columns = dict[str, str]


class Pages:
    """Builds them.

    Args:
        source: what they look at.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def root(self) -> None:
        """Build what surrounds every view, and the view that the address names."""
        ui.add_head_html(_STYLE)
        ui.page_title("CANS dashboard")
        dark = ui.dark_mode(None, on_change=lambda event: app.storage.client.update({_DARK: event.value}))

        async def follow() -> None:
            """Be as dark as the reader's system; figures are drawn here, so it must be known here."""
            with contextlib.suppress(TimeoutError):  # a phone that sleeps: light, as it began
                dark.set_value(bool(await ui.run_javascript(_PREFERS_DARK)))

        ui.timer(0.0, follow, once=True)
        content = ui.column().classes("w-full max-w-6xl mx-auto p-2")
        ui.skip_link("Skip to the content", target=content)
        self._header(dark)
        if isinstance(self._source, Recorded):
            self._footer(self._source)
        with content:
            views: dict[str, Callable[..., None]] = {
                "/": self.overview,
                "/devices": self.devices,
                "/device/{id_}": self.device,
                "/learning": self.learning,
                "/edges": self.edges,
                "/alarms": self.alarms,
                "/broker": self.broker,
            }
            ui.sub_pages(views).classes("w-full")

    def _header(self, dark: ui.dark_mode) -> None:
        with ui.header().classes("cans-header items-center gap-x-4 gap-y-1 py-2"):
            ui.label("CANS").classes("text-lg font-bold text-white")
            with ui.element("nav").props('aria-label="Views"').classes("flex flex-wrap gap-x-4"):
                for address, name in _PLACES.items():
                    ui.link(name, address).classes("text-white underline")
            ui.space()
            status = ui.label().classes("text-white text-sm").props("role=status")
            ui.button(icon="contrast", on_click=lambda: dark.set_value(not dark.value)).props(
                'flat round dense color=white aria-label="Light or dark"'
            )

        def update() -> None:
            status.set_text(f"{self._source.title}: {self._source.status()}")

        self._every(update)

    def _footer(self, source: Recorded) -> None:
        """Let a person wind the recording."""
        playing = {"on": False}
        with ui.footer().classes("cans-header items-center gap-4 flex-nowrap") as footer:
            button = ui.button(icon="play_arrow").props('flat round dense color=white aria-label="Play"')
            slider = ui.slider(min=0.0, max=max(source.length_s, 0.1), step=0.1, value=source.now())
            slider.props('label aria-label="Moment of the recording, seconds"').classes("grow")
            slider.on_value_change(lambda event: source.wind(float(event.value)))
        footer.on("keydown.home", lambda: slider.set_value(0.0))
        footer.on("keydown.end", lambda: slider.set_value(source.length_s))

        def turn() -> None:
            playing["on"] = not playing["on"]
            button.set_icon("pause" if playing["on"] else "play_arrow")
            button.props(f'aria-label="{"Pause" if playing["on"] else "Play"}"')

        def step() -> None:
            if playing["on"] and source.now() >= source.length_s:
                turn()  # it has been played to its end
            if playing["on"]:
                source.wind(min(source.length_s, source.now() + EVERY_S))
            if slider.value != source.now():  # somebody else may have wound it
                slider.set_value(source.now())

        button.on_click(turn)
        ui.timer(EVERY_S, step)

    def overview(self) -> None:
        """Show who is there, and how the site does."""
        _heading("The site")
        figures = ui.row().classes("w-full gap-3")
        labels: dict[str, ui.label] = {}
        with figures:
            for name in rows.totals(self._source.site, self._source.now()):
                with ui.card().classes("p-3"):
                    labels[name] = ui.label().classes("text-xl font-bold")
                    ui.label(f"{name}, last minute").classes("text-sm")
        chart = _chart("Map of the site: device types on the left, edge workers and aggregators on the right")
        table = _table(
            "Device types",
            {
                "type": "Type",
                "devices": "Devices",
                "there": "There",
                "mean": "Latest mean",
                "edge": "Answered by an edge worker",
                "late": "Deadline missed",
            },
            "type",
        )

        def update() -> None:
            site, now = self._source.site, self._source.now()
            for name, value in rows.totals(site, now).items():
                labels[name].set_text(value)
            kinds = rows.types(site)
            _show(table, kinds)
            _draw(chart, charts.site_map(site, kinds, dark=_is_dark()))

        self._every(update)

    def devices(self) -> None:
        """Show a page of devices, as many as there may be."""
        _heading("Devices")
        asked: dict[str, Any] = {"text": "", "order": "name", "page": 1}
        with ui.row().classes("items-end gap-4"):
            text = ui.input("Name or type holds").props("clearable")
            order = ui.select(list(rows.ORDERS), value="name", label="In the order").classes("min-w-40")
        table = _table(
            "Devices",
            {
                "id": "Device",
                "type": "Type",
                "state": "State",
                "arm": "Plays",
                "by": "Answered by",
                "latest": "Latest",
                "mean": "Latest mean",
                "late": "Deadline missed",
                "heard": "Heard",
            },
            "id",
        )
        table.add_slot(
            "body-cell-id",
            """<q-td :props="props"><a class="cans-link"
            :href="'/device/' + encodeURIComponent(props.value)">{{ props.value }}</a></q-td>""",
        )
        pages = ui.pagination(1, 1, direction_links=True).props('aria-label="Pages of devices"')
        said = ui.label().props("role=status")

        def update() -> None:
            query = rows.Query(asked["text"] or "", asked["order"], asked["page"])
            page = rows.devices(self._source.site, query, self._source.now())
            _show(table, page.rows)
            if pages.max != page.pages:
                pages.max = page.pages
            said.set_text(page.in_words)

        def ask(key: str, value: Any) -> None:  # noqa: ANN401 - of an input
            asked[key] = value
            if key != "page":
                asked["page"] = 1
                pages.set_value(1)
            update()

        text.on_value_change(lambda event: ask("text", event.value))
        order.on_value_change(lambda event: ask("order", event.value))
        pages.on_value_change(lambda event: ask("page", event.value))
        self._every(update)

    def device(self, id_: str) -> None:
        """Show what a device does, and why."""
        _heading(f"Device {id_}")
        about = ui.label()
        chart = _chart("Latency over time")
        words = ui.label().classes("text-sm")
        link = ui.label()
        stages = _chart("Stages of the latest frames")
        alternatives = _table(
            "Its alternatives: what each arm has taken lately",
            {
                "arm": "Arm",
                "frames": "Frames",
                "median": "Median",
                "expected": "Expected last",
                "fallbacks": "Finished alone after all",
            },
            "arm",
        )
        latest = _table(
            "Latest frames",
            {
                "frame": "Frame",
                "policy": "Policy",
                "arm": "Arm",
                "by": "Answered by",
                "took": "Took",
                "expected": "Expected",
                "deadline": "Deadline",
                "when": "When",
                "key": "Stages",
            },
            "key",
        )
        latest.add_slot(
            "body-cell-key",
            """<q-td :props="props"><q-btn dense flat no-caps class="cans-link" label="waterfall"
            :aria-label="'Stages of frame ' + props.row.frame"
            @click="() => $parent.$emit('waterfall', props.row.key)" /></q-td>""",
        )
        dialog = _Waterfall()

        def turns() -> Sequence[Seen]:
            seen = self._source.site.devices.get(id_)
            return () if seen is None else list(seen.turns)

        def update() -> None:
            seen, now = turns(), self._source.now()
            node = self._source.site.nodes.get(("device", id_))
            state = node.state if node is not None else None
            about.set_text(
                f"{state.type}, {state.state}. {state.detail}" if state else "It has not said what it is."
            )
            _draw(chart, charts.latency(seen, now, dark=_is_dark()))
            words.set_text(charts.words_of_latency(seen))
            link.set_text(rows.link(seen))
            _draw(stages, charts.stage_times(seen, dark=_is_dark()))
            _show(alternatives, rows.arms(seen))
            _show(latest, rows.frames(seen, now))

        def clicked(event: Any) -> None:  # noqa: ANN401 - NiceGUI's own
            found = [turn.said for turn in turns() if f"{turn.said.seq}:{turn.said.policy}" == event.args]
            if found:
                dialog.show(found[-1])

        latest.on("waterfall", clicked)
        self._every(update)

    def learning(self) -> None:
        """Show what groups know, in words and with intervals."""
        _heading("What groups have learned")
        shown = ui.column().classes("w-full gap-4")
        cards: dict[tuple[str, str], tuple[ui.label, ui.label, ui.table, ui.card]] = {}

        def update() -> None:
            for key in [key for key in cards if key not in self._source.site.words]:
                cards.pop(key)[3].delete()
            for key, words in sorted(self._source.site.words.items()):
                if key not in cards:
                    with shown, ui.card().classes("w-full") as card:
                        ui.label(f"Group {words.group}, type {key[0]}, network {key[1]}").classes(
                            "text-lg font-bold"
                        )
                        text, about = ui.label(), ui.label().classes("text-sm")
                        table = _table(
                            "What it holds to be true",
                            {"what": "Quantity", "value": "Estimate", "between": "95 % interval"},
                            "what",
                            title=False,
                        )
                        cards[key] = (text, about, table, card)
                text, about, table, _ = cards[key]
                text.set_text(words.text)
                about.set_text(
                    f"version {words.version}, {words.members} members, {words.count} rows, "
                    f"of which {words.sent} of frames that were sent; link {words.link or 'not said'}"
                )
                _show(table, rows.learned(words))

        self._every(update)

    def edges(self) -> None:
        """Show the edge workers: lines, batches, refusals."""
        _heading("Edge workers")
        table = _table(
            "Edge workers",
            {
                "id": "Edge worker",
                "state": "State",
                "jobs": "Jobs",
                "wait": "A request would wait",
                "answered": "Answered",
                "batch": "Frames a run",
                "tail": "Tail, median",
                "detail": "Says",
            },
            "id",
        )
        chart = _chart("For how long a request would have waited at each edge worker")
        others = _table(
            "Aggregators",
            {
                "id": "Aggregator",
                "state": "State",
                "merged": "Uploads merged",
                "broadcasts": "Broadcasts",
                "detail": "Says",
            },
            "id",
        )
        refused = _table(
            "Refused and rejected, by reason", {"who": "Who", "why": "Why", "count": "How many"}, "key"
        )

        def update() -> None:
            site, now = self._source.site, self._source.now()
            _show(table, rows.edges(site, now))
            _draw(chart, charts.queues(site, now, dark=_is_dark()))
            _show(others, rows.aggregators(site))
            _show(refused, rows.refusals(site))

        self._every(update)

    def alarms(self) -> None:
        """Show what has happened."""
        _heading("Alarms")
        table = _table(
            "The latest first", {"when": "When", "who": "Who", "kind": "Kind", "what": "What"}, "key"
        )
        self._every(lambda: _show(table, rows.alarms(self._source.site, self._source.now())))

    def broker(self) -> None:
        """Show what the broker says of itself, and how this page keeps up."""
        _heading("Broker")
        said = ui.label()
        table = _table(
            "What it says of itself ($SYS), where it lets a watcher read that",
            {"name": "Topic", "value": "Value"},
            "name",
        )

        def update() -> None:
            site = self._source.site
            said.set_text(
                f"This page has taken in {site.messages:,} messages; {site.unreadable:,} could not be read, "
                f"{site.left_out:,} found no room. {self._source.status()}."
            )
            _show(table, rows.broker(site))

        self._every(update)

    def _every(self, update: Callable[[], None]) -> None:
        """Call it now, and then once a second while its view is looked at."""
        update()
        ui.timer(EVERY_S, update)


class _Waterfall:
    """A dialog with one frame's stages."""

    def __init__(self) -> None:
        with ui.dialog() as self._dialog, ui.card().classes("w-full max-w-3xl"):
            with ui.row().classes("w-full items-center justify-between flex-nowrap"):
                self._title = ui.label().classes("text-lg font-bold")
                close = ui.button("Close", color=None, on_click=self._dialog.close)
                close.props("outline no-caps")
            self._chart = _chart("Stages of one frame")
            self._table = _table(
                "Stages", {"stage": "Stage", "began": "Began, ms", "took": "Took, ms"}, "stage", title=False
            )

    def show(self, said: Feedback) -> None:
        """Open it."""
        stages = rows.stages(said)
        self._title.set_text(
            f"Frame {said.seq} of {said.device}: {rows.arm_of(said)}, {said.total_ms:.1f} ms"
        )
        _draw(self._chart, charts.waterfall(stages, dark=_is_dark()))
        _show(self._table, stages)
        self._dialog.open()


def _heading(text: str) -> None:
    ui.label(text).classes("text-2xl font-bold").props("role=heading aria-level=1")


def _chart(words: str) -> ui.echart:
    return ui.echart({}).classes("w-full h-72").props(f'role=img aria-label="{words}"')


def _draw(chart: ui.echart, options: dict[str, Any]) -> None:
    if chart.options != options:
        chart.options.clear()
        chart.options.update(options)


def _table(name: str, columns: Columns, key: str, *, title: bool = True) -> ui.table:
    shown = [
        {"name": field, "label": label, "field": field, "align": "left"} for field, label in columns.items()
    ]
    # What is wider than a phone is scrolled, also by who has no mouse.
    region = ui.element("div").props(f'tabindex=0 role=region aria-label="{name}"')
    with region.classes("cans-scroll w-full overflow-x-auto"):
        table = ui.table(columns=shown, rows=[], row_key=key, title=name if title else None, pagination=0)
    return table.classes("w-full").props(
        f'flat bordered dense hide-pagination wrap-cells no-data-label=none table-aria-label="{name}"'
    )


def _show(table: ui.table, found: list[dict[str, Any]]) -> None:
    if table.rows != found:
        table.rows = found


def _is_dark() -> bool:
    """Whether this reader's page is dark."""
    return bool(app.storage.client.get(_DARK))
