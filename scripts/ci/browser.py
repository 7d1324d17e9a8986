"""A browser without a head, driven by the WebDriver protocol: Chromium and chromedriver, and nothing to be installed beside them."""

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


def missing():
    """What there is to install first, in words; nothing if all is there."""
    names = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    return " and ".join(names)


class Browser:
    """One window. Ends with its block."""

    def __init__(self, width=1280, height=800):
        self.size = (width, height)

    def __enter__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="heartsay-page-")
        self.driver = subprocess.Popen(
            [shutil.which("chromedriver"), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        port = next(filter(None, (re.search(r"started successfully on port (\d+)", line) for line in self.driver.stdout)))[1]
        self.base = f"http://127.0.0.1:{port}/session"
        flags = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
        flags += ["disable-component-update", "disable-sync", "disable-dev-shm-usage", f"user-data-dir={self.profile.name}"]
        flags += [f"window-size={self.size[0]},{self.size[1]}"]
        options = {"binary": shutil.which("chromium"), "args": [f"--{flag}" for flag in flags]}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        try:
            answer = self.call("POST", "", {"capabilities": {"alwaysMatch": wanted}})
            self.base += f"/{answer['sessionId']}"
            self.open("about:blank")
            self.look(*self.size)
            # What the first tab had asked for.
            self.requests()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.call("DELETE", "")
        except OSError:
            pass
        self.driver.terminate()
        self.driver.wait(timeout=10)
        self.profile.cleanup()

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"].split("\n")[0]) from None

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def devtools(self, command, **parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def look(self, width, height, scheme="light"):
        """The size of what is seen, and which colours the reader likes."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def js(self, expression):
        """What an expression comes to on the page; a promise is waited for."""
        said = self.devtools("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in said:
            raise AssertionError(said["exceptionDetails"].get("exception", {}).get("description", expression))
        return said["result"].get("value")

    def text(self, selector):
        return self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def wait(self, what, expression, seconds=30):
        """Waits until an expression is true on the page."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.js(expression):
                return
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s: {what}\n{self.text('body')[:1500]}")

    def press(self, *keys):
        """Keys one after the other, as a person presses them; the codes are those of WebDriver."""
        for key in keys:
            steps = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
            self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": steps}]})

    def shot(self, path, whole=False):
        data = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def log(self, kind):
        return self.call("POST", "/se/log", {"type": kind})

    def errors(self):
        """What the console complained of since the last time."""
        return [entry["message"] for entry in self.log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def requests(self):
        """The address of each request since the last time."""
        entries = (json.loads(entry["message"])["message"] for entry in self.log("performance"))
        return [one["params"]["request"]["url"] for one in entries if one["method"] == "Network.requestWillBeSent"]


TAB, ENTER, ESCAPE, DOWN, END, HOME = "\ue004", "\ue007", "\ue00c", "\ue015", "\ue010", "\ue011"
