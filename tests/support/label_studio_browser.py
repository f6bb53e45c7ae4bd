"""Opens a task of Label Studio in a browser, as a person does, and prints what is drawn there, as JSON.

Arguments: the browser's file, the address of the task, the file for a picture of it. The environment has EMAIL and
PASSWORD. Runs where `make label-studio` installs Playwright.
"""

import json
import os
import sys

from playwright.sync_api import sync_playwright

SEEN = """() => {
    const image = document.querySelector('img[src^="blob:"]').getBoundingClientRect();
    const canvas = Konva.stages[0].container().getBoundingClientRect();
    const shapes = Konva.stages[0].find("Rect").filter(shape => shape.isVisible() && shape.stroke() && shape.width());
    const drawn = shapes.map(shape => shape.getClientRect({skipStroke: true})).map(one => ({
        x: one.x + canvas.x - image.x, y: one.y + canvas.y - image.y, width: one.width, height: one.height,
    }));
    return {
        task: Number(Htx.task.id),
        labels: Htx.annotationStore.selected.regionStore.regions.map(region => [...region.labels]),
        shown: {width: image.width, height: image.height},
        drawn,
    };
}"""
"""Boxes in pixels of the screen, from the corner of the picture, as the canvas draws them."""


def main() -> None:
    """Log in, open the task, and look."""
    browser, address, shot = sys.argv[1:]
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = program.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(f"{address.partition('/projects/')[0]}/user/login/")
        page.fill("input[name=email]", os.environ["EMAIL"])
        page.fill("input[name=password]", os.environ["PASSWORD"])
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/user/login" not in url)
        page.goto(address)
        page.wait_for_function("window.Konva && Konva.stages.length && Konva.stages[0].find('Rect').length")
        page.wait_for_function("document.querySelector('img[src^=\"blob:\"]').complete")
        page.wait_for_timeout(1000)  # it is laid out anew when its panels are there
        page.screenshot(path=shot)
        print(json.dumps(page.evaluate(SEEN)))
        program.close()


if __name__ == "__main__":
    main()
