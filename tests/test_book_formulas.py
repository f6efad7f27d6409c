"""Every formula of the built book is set, by the MathJax that comes with it."""

import re

import pytest

from chromium import launch, serve

pytestmark = pytest.mark.browser
STATE = """async () => {
    if (!document.querySelector('.math')) return null;
    await MathJax.startup.promise;
    const texts = [...document.querySelectorAll('mjx-mtext')];
    const red = texts.filter((e) => getComputedStyle(e).color === 'rgb(255, 0, 0)');
    return {
        written: document.querySelectorAll('.math').length,
        set: document.querySelectorAll('.math mjx-container').length,
        spoken: document.querySelectorAll('mjx-container mjx-assistive-mml math').length,
        tags: document.querySelectorAll('mjx-mlabeledtr').length,
        wrong: [...document.querySelectorAll('mjx-merror'), ...red].map((e) => e.textContent || e.outerHTML),
        left: [...document.querySelectorAll('mjx-container[display="true"]')].filter(
            (e) => e.querySelector('mjx-math').getBoundingClientRect().left
                < document.querySelector('article').getBoundingClientRect().left - 1).length,
    };
}"""


@pytest.fixture(scope="module")
def tab():
    with launch() as browser:
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        yield page


def test_every_formula_is_set_read_aloud_and_begins_on_a_phones_screen(site, tab):
    formulas, tags = 0, 0
    with serve(site) as address:
        for path in sorted(site.glob("*/**/*.html")):
            if "_static" in path.parts:
                continue
            tab.goto(f"{address}/{path.relative_to(site).as_posix()}")
            if (state := tab.evaluate(STATE)) is None:
                continue
            assert state["wrong"] == [], path.name
            assert state["written"] == state["set"] == state["spoken"] > 0, path.name
            assert state["left"] == 0, path.name
            formulas, tags = formulas + state["set"], tags + state["tags"]
    assert formulas > 500 and tags > 10
    assert {re.match(r"https?://[^/:]+", url)[0] for url in tab.asked if url.startswith("http")} == {"http://127.0.0.1"}


@pytest.mark.parametrize("formula", [r"\(\nosuchmacro{x}\)", r"\(\frac{1}\)", r"\(\bbox[red]{x}\)"])
def test_a_wrong_formula_or_one_that_needs_more_of_mathjax_is_found(formula, site, tab):
    with serve(site) as address:
        tab.goto(f"{address}/book/notation.html")
        assert tab.evaluate(STATE)["wrong"] == []
        tab.evaluate(
            """(formula) => {
                const place = document.querySelector('article').appendChild(document.createElement('span'));
                place.className = 'math';
                place.textContent = formula;
                return MathJax.typesetPromise([place]);
            }""",
            formula,
        )
        assert tab.evaluate(STATE)["wrong"]
