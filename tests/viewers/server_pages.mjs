// Use the server's pages as a reader would, and print what they show as JSON.
//
// The only argument is JSON: url, chromium, token, study (key), level and image (its marked slice's SOPInstanceUID; no
// viewer is opened without), out (folder of screenshots) and timeout (ms of each step). Expectations are waited for, not
// judged. axe-core runs in every page, at two widths and in both color schemes.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const settings = JSON.parse(process.argv[2]);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const shown = { pages: [], errors: [], foreign: [], keys: {}, viewer: null };

const FLAGS = [
  "--no-sandbox", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--ignore-gpu-blocklist", "--use-gl=angle",
  "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
];
const LOOKS = [
  { name: "desktop", viewport: { width: 1280, height: 900 }, colorScheme: "light" },
  { name: "phone", viewport: { width: 390, height: 844 }, colorScheme: "dark" },
];
const PAGES = {
  worklist: "/worklist?view=all", study: `/studies/${settings.study}`, status: "/status", check: "/status/check",
  api: "/api/docs", error: `/studies/${"0".repeat(32)}`,
};

const browser = await chromium.launch({ executablePath: settings.chromium, args: FLAGS });

async function newPage(look) {
  const context = await browser.newContext({ ...look, serviceWorkers: "block" });
  context.setDefaultTimeout(settings.timeout);
  context.on("request", (request) => {
    if (!request.url().startsWith(settings.url) && /^https?:/.test(request.url())) shown.foreign.push(request.url());
  });
  context.on("response", (response) => {
    const { pathname } = new URL(response.url());
    if (response.status() >= 400 && !/0{32}$/.test(pathname)) shown.errors.push(`${response.status()} ${pathname}`);
  });
  const page = await context.newPage();
  page.on("pageerror", (error) => shown.errors.push(`${page.url()}: ${error}`));
  page.on("console", (message) => {
    if (/Content Security Policy/.test(message.text())) shown.errors.push(`${page.url()}: ${message.text()}`);
  });
  return page;
}

async function look(page, name) {
  await page.evaluate(axe);
  const result = await page.evaluate(() => window.axe.run(document, { iframes: false }));
  const widths = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  const faults = result.violations
    .filter((each) => ["serious", "critical"].includes(each.impact))
    .map((each) => `${each.id}: ${each.nodes.map((node) => node.html).join(" | ").slice(0, 400)}`);
  shown.pages.push({
    name, widths, faults, checks: result.passes.length, text: await page.evaluate(() => document.body.innerText),
  });
  await page.screenshot({ path: `${settings.out}/${name}.png`, fullPage: true });
}

async function logIn(page, name) {
  await page.goto(`${settings.url}/worklist`);
  if (name) await look(page, name);
  await page.fill("#token", settings.token);
  await page.click("main button");
  await page.waitForURL(/worklist/);
}

async function useKeys(page) {
  await page.goto(`${settings.url}/worklist?view=all`);
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("k");
  shown.keys.focused = await page.evaluate(() => document.activeElement.getAttribute("href"));
  shown.keys.first = await page.locator(".study a").first().getAttribute("href");
  await page.keyboard.press("/");
  shown.keys.search = await page.evaluate(() => document.activeElement.id);
  await page.locator(".study a").first().focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(/studies/);
  await page.keyboard.press("j");
  await page.waitForURL((url) => url.pathname.startsWith("/studies/") && url.pathname !== shown.keys.first);
  shown.keys.next = new URL(page.url()).pathname;
  await page.keyboard.press("u");
  await page.waitForURL(/worklist/);
}

async function openViewer(page) {
  await page.goto(PAGES.study.startsWith("/") ? settings.url + PAGES.study : PAGES.study);
  await page.addInitScript(() => localStorage.setItem("shownTours", JSON.stringify(["basicViewerTour"])));
  await page.evaluate(() => localStorage.setItem("shownTours", JSON.stringify(["basicViewerTour"])));
  const opened = page.context().waitForEvent("page");
  await page.locator("tr", { hasText: new RegExp(`^\\s*${settings.level}\\b`) }).locator("a[target=viewer]").click();
  const viewer = await opened;
  viewer.on("pageerror", (error) => shown.errors.push(`viewer: ${error}`));
  shown.viewer = { url: viewer.url(), image: "" };
  const end = Date.now() + settings.timeout;
  while (Date.now() < end && !shown.viewer.image.includes(settings.image)) {
    await viewer.waitForTimeout(500);
    shown.viewer.image = await viewer
      .evaluate(() => window.cornerstone?.getEnabledElements()[0]?.viewport.getCurrentImageId?.() ?? "")
      .catch(() => "");
  }
  const size = () => viewer.evaluate(() => {
    const image = window.cornerstone?.getEnabledElements()[0]?.viewport.getImageData?.();
    return image ? [image.dimensions[0], image.dimensions[1]] : null;
  });
  while (Date.now() < end && !(shown.viewer.size = await size())) await viewer.waitForTimeout(500);
  await viewer.waitForLoadState("networkidle"); // with the thumbnails, also those that are compressed
  shown.viewer.wrong = await viewer.getByText("Something went wrong").count();
  await viewer.screenshot({ path: `${settings.out}/viewer.png` });
}

try {
  for (const { name, ...appearance } of LOOKS) {
    const page = await newPage(appearance);
    await logIn(page, `${name}-login`);
    for (const [which, path] of Object.entries(PAGES)) {
      if (name === "phone" && !["worklist", "study", "status"].includes(which)) continue;
      await page.goto(settings.url + path);
      await page.waitForLoadState("networkidle");
      await look(page, `${name}-${which}`);
    }
    if (name === "desktop") {
      await useKeys(page);
      if (settings.image) await openViewer(page);
    }
    await page.context().close();
  }
} catch (error) {
  shown.stopped = String(error.stack ?? error).slice(0, 1500);
} finally {
  console.log(JSON.stringify(shown));
  await browser.close();
}
