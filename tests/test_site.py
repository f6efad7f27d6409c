"""The built book in a browser: each page loads whole and alone, formulas are set, solutions open, the search finds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from matplotlib.colors import to_rgb

from chromium import serve
from ktnet_lite.reporting.plots import GREY

ROOT = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
PHONE = {"width": 390, "height": 844}
STATE = """async () => {
    const all = (selector) => [...document.querySelectorAll(selector)];
    if (all('.math').length) await MathJax.startup.promise;
    const red = all('mjx-mtext').filter((e) => getComputedStyle(e).color === 'rgb(255, 0, 0)');
    const start = (e) => e.getBoundingClientRect().left;
    return {
        width: document.documentElement.scrollWidth,
        written: all('.math').length,
        set: all('.math mjx-container').length,
        spoken: all('mjx-container mjx-assistive-mml math').length,
        tags: all('mjx-mlabeledtr').length,
        failed: [...all('mjx-merror'), ...red].map((e) => e.textContent || e.outerHTML),
        cut: all('mjx-container[display="true"]').filter(
            (e) => start(e.querySelector('mjx-math')) < start(document.querySelector('article')) - 1).length,
    };
}"""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with serve(site) as address:
        yield address


@contextmanager
def opened(browser, address: str, **options) -> Iterator[Any]:
    """A page that keeps what went wrong in ``page.wrong``: errors, and requests that left the site."""
    with browser.new_context(**options) as context:
        page = context.new_page()
        page.wrong = []
        page.on("console", lambda said: page.wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("response", lambda got: page.wrong.append(f"{got.status} {got.url}") if got.status >= 400 else None)
        here = (address, "data:", "blob:")
        page.on("request", lambda asked: None if asked.url.startswith(here) else page.wrong.append(asked.url))
        yield page


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as page:
        yield page


@pytest.fixture(scope="module")
def phone(browser, site, address) -> dict[str, dict[str, Any]]:
    """What every page is on a phone's screen, its formulas set; ``wrong`` is what went wrong."""
    states = {}
    with opened(browser, address, viewport=PHONE) as page:
        for path in pages(site):
            page.goto(f"{address}/{path}", wait_until="load")
            states[path] = page.evaluate(STATE) | {"wrong": list(page.wrong)}
            page.wrong.clear()
    return states


def pages(site: Path) -> list[str]:
    """Every page but those of source code, and the first, which leads on."""
    found = {path.relative_to(site).as_posix() for path in site.rglob("*.html")} - {"index.html"}
    return sorted(path for path in found if not path.startswith(("_static/", "_modules/")))


def test_the_sites_address_leads_to_the_landing_page(page, address):
    page.goto(f"{address}/")
    page.wait_for_url("**/book/index.html")
    assert page.wrong == []


def test_what_the_first_page_names_is_there(site):
    told = (site / "index.html").read_text(encoding="utf-8")
    named = re.findall('(?:href|url)="?([^"]+)"', told)
    assert len(named) == 3 and f"<title>{CONFIG['title']}</title>" in told
    assert [name for name in named if not (site / name).is_file()] == []


def test_no_directive_is_left_as_it_was_written(site):
    left = {path for path in pages(site) if re.search(r"(```|~~~|:::)\{\w+\}", (site / path).read_text("utf-8"))}
    assert not left


def test_every_page_loads_without_an_error_from_this_site_alone(phone):
    assert {path: state["wrong"] for path, state in phone.items() if state["wrong"]} == {}
    assert len(phone) > 30


def test_no_page_is_wider_than_a_phone(phone):
    assert {path: state["width"] for path, state in phone.items() if state["width"] > PHONE["width"]} == {}


def test_every_formula_is_set_read_aloud_and_begins_on_a_phones_screen(phone):
    for path, state in phone.items():
        assert state["failed"] == [] and state["cut"] == 0, path
        assert state["written"] == state["set"] == state["spoken"], path
    assert sum(state["set"] for state in phone.values()) > 500
    assert sum(state["tags"] for state in phone.values()) > 10


def test_a_wrong_formula_or_one_that_needs_more_of_mathjax_is_found(page, address):
    page.goto(f"{address}/book/notation.html")
    found = [page.evaluate(STATE)["failed"]]
    for formula in (r"\(\nosuchmacro{x}\)", r"\(\frac{1}\)", r"\(\bbox[red]{x}\)"):
        page.evaluate(
            """(formula) => {
                const place = document.querySelector('article').appendChild(document.createElement('span'));
                place.className = 'math';
                place.textContent = formula;
                return MathJax.typesetPromise([place]);
            }""",
            formula,
        )
        found.append(page.evaluate(STATE)["failed"])
        assert len(found[-1]) > len(found[-2]), formula
    assert found[0] == []


def test_the_search_finds_the_collapse(page, address):
    page.goto(f"{address}/search.html?q=collapse")
    first = page.locator("#search-results li a").first
    first.wait_for()
    found = page.locator("#search-results li a").all_text_contents()
    assert any("Knowledge transfer" in title for title in found)


def test_the_search_opens_by_the_keyboard(page, address):
    page.goto(f"{address}/book/index.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("collapse")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=collapse*")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_opens_in_colab_and_its_solutions_open(name, page, address):
    page.goto(f"{address}/notebooks/{Path(name).stem}.html")
    repository = CONFIG["repository"]
    place = repository["url"].removeprefix("https://github.com/") + f"/blob/{repository['branch']}/notebooks/{name}"
    colab = f"https://colab.research.google.com/github/{place}"
    links = page.locator("a[href*='colab.research.google.com']").evaluate_all("links => links.map(link => link.href)")
    assert len(links) == 2 and set(links) == {colab}, "the rocket and the badge"
    solutions = page.locator("details.hide")
    assert solutions.count() >= 3
    for i in range(solutions.count()):
        code = solutions.nth(i).locator(".highlight").first
        assert not code.is_visible()
        solutions.nth(i).locator("summary").press("Enter")
        assert code.is_visible()
    assert page.wrong == []


def test_light_and_dark_are_a_readers_choice_and_the_systems_at_first(browser, address):
    for scheme in ("light", "dark"):
        with browser.new_context(color_scheme=scheme) as context:
            page = context.new_page()
            page.goto(f"{address}/book/index.html")
            theme = page.locator("html")
            assert theme.get_attribute("data-theme") == scheme
            for _ in range(3):  # light, dark, the system's
                if theme.get_attribute("data-theme") == scheme:
                    page.locator("button.theme-switch-button").first.click()
            assert theme.get_attribute("data-theme") != scheme


def luminance(colour: str) -> float:
    """Of WCAG 2.2, from a browser's ``rgb(r, g, b)``."""
    channels = [float(x) / 255 for x in re.findall(r"[\d.]+", colour)[:3]]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in channels]
    return sum(weight * x for weight, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_of_figures_can_be_read_on_the_ground_of_the_page(scheme, browser, address):
    with browser.new_context(color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(f"{address}/notebooks/03_knowledge_transfer.html")
        style, own = page.locator(".cell_output img").first.evaluate(
            "image => [getComputedStyle(image).filter, getComputedStyle(image).backgroundColor]"
        )
        assert own == "rgba(0, 0, 0, 0)"
        grey = to_rgb(GREY)[0]
        if scheme == "dark":
            contrast, brightness = map(float, re.fullmatch(r"contrast\((.+)\) brightness\((.+)\)", style).groups())
            grey, white = (brightness * (contrast * (x - 0.5) + 0.5) for x in (grey, 1.0))
            assert white == pytest.approx(1, abs=0.005), "nothing is cut off, and white stays white"
        text = page.locator("article p").first.evaluate("text => getComputedStyle(text).color")
        ground = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
        for colour, least in ((text, 7), (f"rgb({grey * 255}, {grey * 255}, {grey * 255})", 4.5)):
            light, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) > least


def test_on_a_phone_a_figure_scrolls_and_its_caption_stays(browser, address):
    with browser.new_context(viewport=PHONE) as context:
        page = context.new_page()
        for path in ("notebooks/03_knowledge_transfer.html", "book/results.html"):
            page.goto(f"{address}/{path}")
            box = page.locator("figure .scrolls").first
            assert box.evaluate("box => box.scrollWidth > box.clientWidth + 100")
            caption = page.locator("figure:has(.scrolls) figcaption").first.bounding_box()
            assert caption["x"] >= 0 and caption["x"] + caption["width"] <= PHONE["width"]
