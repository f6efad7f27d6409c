"""The built book in a browser: each page loads whole and alone, hidden solutions open, the search finds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from chromium import serve

ROOT = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with serve(site) as address:
        yield address


@pytest.fixture
def page(browser, address):
    """A page that keeps what went wrong in ``page.wrong``: errors, and requests that left the site."""
    with browser.new_context() as context:
        page = context.new_page()
        page.wrong = []
        page.on("console", lambda said: page.wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("response", lambda got: page.wrong.append(f"{got.status} {got.url}") if got.status >= 400 else None)
        here = (address, "data:", "blob:")
        page.on("request", lambda asked: None if asked.url.startswith(here) else page.wrong.append(asked.url))
        yield page


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


def test_every_page_loads_without_an_error_from_this_site_alone_with_its_formulas_drawn(page, site, address):
    wrong = {}
    for path in pages(site):
        page.goto(f"{address}/{path}", wait_until="load")
        if page.locator(".math").count():
            page.wait_for_function("MathJax.startup.promise.then(() => true)")
            undrawn = page.locator(".math:not(:has(mjx-container))").count()
            failed = page.locator("mjx-merror").count()
            if undrawn or failed:
                page.wrong.append(f"{undrawn} formulas not drawn, {failed} with an error")
        if page.wrong:
            wrong[path] = list(page.wrong)
            page.wrong.clear()
    assert wrong == {}
    assert len(pages(site)) > 30


def test_no_page_is_wider_than_a_phone(page, site, address):
    page.set_viewport_size(PHONE)
    wide = {}
    for path in pages(site):
        page.goto(f"{address}/{path}", wait_until="load")
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            wide[path] = width
    assert wide == {}


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
def test_pictures_of_a_notebook_keep_their_white_ground(scheme, browser, address):
    with browser.new_context(color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(f"{address}/notebooks/03_knowledge_transfer.html")
        style = page.locator(".cell_output img").first.evaluate(
            "image => [getComputedStyle(image).filter, getComputedStyle(image).backgroundColor]"
        )
        if scheme == "dark":
            assert style[0] == "none" and luminance(style[1]) > 0.9
        text = page.locator("article p").first.evaluate("text => getComputedStyle(text).color")
        ground = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
        light, dark = sorted((luminance(text), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 7
