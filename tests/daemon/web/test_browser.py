"""The debug page in a real browser, served by the real program."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.daemon.cli.program import LIMIT, free_port, running
from tests.daemon.images import TestImage, make_image
from tests.daemon.layouts import lay_out

PHONE, DESKTOP = (360, 740), (1280, 900)
NAME = "docker.io/library/application-with-a-rather-long-name:1.2.3-alpine"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        reason = "needs Debian's packages chromium and chromium-driver"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
        "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ]:  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options, Service(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def image() -> TestImage:
    return make_image(7, layers=3, size=300_000)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, image: TestImage) -> Iterator[str]:
    layout = tmp_path_factory.mktemp("layout")
    lay_out(layout, {NAME: image, "quay.io/<script>/x:1": make_image(8)})
    metrics = f"127.0.0.1:{free_port()}"
    flags = [
        f"--oci-layout={layout}",
        f"--metrics-addr={metrics}",
        f"--registry-addr=127.0.0.1:{free_port()}",
    ]
    with running("registry", "--bootstrap-kind=static", *flags) as program:
        program.wait_for_log("advertised")
        yield metrics


def open_page(browser: Chrome, address: str, window: tuple[int, int]) -> None:
    browser.get_log("browser")
    browser.get_log("performance")
    # A window cannot be narrower than 500 pixels; a device can.
    metrics = {"width": window[0], "height": window[1], "deviceScaleFactor": 1, "mobile": window == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(f"http://{address}/debug/web/")


def measure(browser: Chrome, name: str) -> str:
    field = browser.find_element(By.NAME, "image")
    field.clear()
    field.send_keys(name)
    browser.find_element(By.CSS_SELECTOR, "#measure button").click()
    WebDriverWait(browser, LIMIT).until(
        lambda b: b.find_elements(By.CSS_SELECTOR, "#result .total, #result .problem")
    )
    return browser.find_element(By.ID, "result").text


def fits(browser: Chrome) -> bool:
    script = "const page = document.documentElement; return page.scrollWidth <= page.clientWidth;"
    return bool(browser.execute_script(script))


def complaints(browser: Chrome) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser")]


@pytest.mark.parametrize("window", [PHONE, DESKTOP])
def test_the_page_shows_the_node_and_its_images(
    browser: Chrome, address: str, image: TestImage, window: tuple[int, int]
) -> None:
    open_page(browser, address, window)
    assert browser.title.endswith(" - Spegel")
    text = browser.find_element(By.TAG_NAME, "main").text
    assert NAME in text
    assert image.index in text
    assert "this node is alone" in text
    assert fits(browser)
    assert complaints(browser) == []


@pytest.mark.parametrize("window", [PHONE, DESKTOP])
def test_the_form_measures_a_pull_without_leaving_the_page(
    browser: Chrome, address: str, image: TestImage, window: tuple[int, int]
) -> None:
    open_page(browser, address, window)
    result = measure(browser, NAME)
    for digest in (image.manifest, image.config, *image.layers):
        assert digest in result
    assert "this node" in result
    assert browser.current_url.endswith("/debug/web/")
    assert fits(browser)
    assert "no image's name" in measure(browser, "<script>alert(1)</script>")
    assert browser.find_element(By.CSS_SELECTOR, "#measure button").is_enabled()


def test_the_form_works_without_scripts(browser: Chrome, address: str, image: TestImage) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        open_page(browser, address, PHONE)
        result = measure(browser, NAME)
        assert image.layers[0] in result
        assert "/debug/web/measure?" in browser.current_url
        assert complaints(browser) == []
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert fits(browser)


def test_nothing_but_the_node_is_asked_for_anything(browser: Chrome, address: str) -> None:
    open_page(browser, address, DESKTOP)
    measure(browser, NAME)
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert len(urls) >= 4
    assert [url for url in urls if not url.startswith((f"http://{address}/debug/web/", "data:"))] == []


def test_the_policy_holds_against_injected_code(browser: Chrome, address: str) -> None:
    open_page(browser, address, DESKTOP)
    script = """
        const inline = document.createElement("script");
        inline.textContent = "window.injected = true";
        document.body.append(inline);
        return window.injected === undefined;
    """
    assert browser.execute_script(script)
    assert any("Content Security Policy" in message for message in complaints(browser))
