"""A study in MLflow's own pages, as a user sees it in a browser.

Driven by Playwright with the Chromium of the system (Debian: ``apt install chromium``).
"""

import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, expect, sync_playwright
from trained_studies import MOLECULES, known

from record.recorded_study import RecordedStudy
from record.trial import Trial

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt install chromium")

PATIENCE = 60.0
"""Seconds that the server, and a page, may take."""


@pytest.fixture(scope="module")
def study(trained_copy: Path) -> RecordedStudy:
    return known(trained_copy)


@pytest.fixture(scope="module")
def run_path(study: RecordedStudy) -> str:
    """Of the page of the study's run."""
    experiment = study.artifacts.store.client.get_experiment_by_name(MOLECULES)
    assert experiment is not None
    run_id = study.artifacts.run_id(None)
    return f"#/experiments/{experiment.experiment_id}/runs/{run_id}"


def name_of(trial: Trial) -> str:
    """What the run of a trial is called: a final after the trial that it replicates."""
    of = trial.replicate_of
    return f"{trial.number if of is None else of:04d} {trial.title}"


@pytest.fixture(scope="module")
def server(trained_copy: Path) -> Iterator[str]:
    """The address of MLflow's own server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    command += [
        "--port",
        str(port),
        "--backend-store-uri",
        f"sqlite:///{trained_copy / 'mlflow.db'}",
    ]
    with (trained_copy / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/health", process)
        yield address
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"{url} does not answer")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1900, "height": 1000})
        page.set_default_timeout(1000 * PATIENCE)
        expect.set_options(timeout=1000 * PATIENCE)
        # MLflow greets who comes for the first time.
        page.add_locator_handler(
            page.get_by_role("dialog"), lambda _: page.keyboard.press("Escape")
        )
        yield page
        browser.close()


def names(page: Page) -> list[str]:
    """Of the runs that are listed, from the top."""
    rows = page.locator(".ag-pinned-left-cols-container .ag-row").all()
    found = {}
    for row in rows:
        links = row.locator("a").all()
        if links:
            found[int(row.get_attribute("row-index") or 0)] = links[0].inner_text()
    return [found[place] for place in sorted(found)]


@pytest.fixture
def listed(page: Page, server: str, run_path: str) -> Page:
    """The page that lists the runs of the study."""
    page.goto("about:blank")  # else the next address is but a place in the page that is open
    experiment = run_path.partition("/runs/")[0]
    page.goto(f"{server}/{experiment}/runs?workflowType=machine_learning")
    return page


def test_the_experiment_lists_the_study_and_under_it_its_trials_and_their_finals(
    listed: Page, study: RecordedStudy
) -> None:
    page = listed
    row = page.locator(".ag-row", has=page.get_by_role("link", name=MOLECULES, exact=True))
    row.locator("button").first.click()
    for trial in study.trials:
        expect(page.get_by_role("link", name=name_of(trial), exact=True)).to_be_visible()
    final = study.finals[0]
    assert page.get_by_role("link", name=name_of(final), exact=True).count() == 0
    parent = study.trial(final.replicate_of or 0)
    row = page.locator(".ag-row", has=page.get_by_role("link", name=name_of(parent), exact=True))
    row.locator("button").first.click()
    expect(page.get_by_role("link", name=name_of(final), exact=True)).to_be_visible()


def test_runs_sort_by_the_objective_and_the_study_itself_comes_last(
    listed: Page, study: RecordedStudy
) -> None:
    page = listed
    page.get_by_role("button", name=re.compile("^Sort")).click()
    page.get_by_text("validation/r2", exact=True).last.click()
    everything = sorted(study.every, key=study.value, reverse=True)
    best = page.locator('.ag-row[row-index="0"] a').first
    expect(best).to_have_text(name_of(everything[0]))
    assert names(page) == [*map(name_of, everything), MOLECULES]


def test_the_run_of_the_study_opens_on_question_and_answer(
    page: Page, server: str, run_path: str
) -> None:
    page.goto(f"{server}/{run_path}")
    expect(page.get_by_text("is the champion").last).to_be_visible()
    expect(page.get_by_text("Which graph neural network predicts").last).to_be_visible()


def test_the_report_is_shown_among_the_artifacts(page: Page, server: str, run_path: str) -> None:
    page.goto(f"{server}/{run_path}/artifacts")
    page.get_by_text("report", exact=True).click()
    shown = page.frame_locator("iframe").last
    heading = shown.get_by_role("heading", name="The finalists")
    for _ in range(3):  # a folder that opens late takes a click on its files back
        page.get_by_text("report.html", exact=True).click()
        with suppress(Error):
            heading.wait_for(timeout=20_000)
            break
    expect(heading).to_be_visible()
    expect(shown.get_by_text("is the champion")).to_be_visible()


def test_the_champion_is_registered_under_the_name_of_the_study(
    page: Page, server: str, study: RecordedStudy
) -> None:
    page.goto("about:blank")
    page.goto(f"{server}/#/models?workflowType=machine_learning")
    row = page.get_by_role("row", name=re.compile(f"^{MOLECULES}"))
    row.get_by_role("link", name=re.compile("champion.*Version 1", re.DOTALL)).click()
    assert page.url.endswith(f"#/models/{MOLECULES}/versions/1")
    champion = study.champion_final
    assert champion is not None
    page.get_by_text("Inputs (1)").click()
    expect(page.get_by_text("float32")).to_be_visible()
    page.get_by_role("link", name=name_of(champion)).click()
    expect(page.get_by_role("heading", name=name_of(champion))).to_be_visible()
