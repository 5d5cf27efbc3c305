// Drive OHIF as a reader would, by mouse, and print what the page shows as JSON.
//
// The only argument is JSON: url, chromium, out (folder of screenshots), size (of the window), study (UID), series (how
// many the list must show), marks (by vertebra: image, the slice's SOPInstanceUID, and pixel, column and row), segments
// (by words of the series' description: the labels to click, each with the SOPInstanceUIDs of its slices) and timeout
// (ms of each step). Expectations are waited for, not judged: what the page shows in the end is printed, and what it
// never shows stays null or is left out.
import { chromium, selectors } from "playwright-core";

const settings = JSON.parse(process.argv[2]);
const shown = { list: "", series: [], captures: null, report: null, segmentations: {}, errors: [] };

const FLAGS = [
  "--no-sandbox", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--ignore-gpu-blocklist", "--use-gl=angle",
  "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
];
const THUMBNAILS = "[data-cy=study-browser-thumbnail], [data-cy=study-browser-thumbnail-no-image]";

selectors.setTestIdAttribute("data-cy");
const browser = await chromium.launch({ executablePath: settings.chromium, args: FLAGS });
const context = await browser.newContext({ viewport: settings.size, serviceWorkers: "block" });
context.setDefaultTimeout(settings.timeout);
await context.addInitScript(() => localStorage.setItem("shownTours", JSON.stringify(["basicViewerTour"])));
const page = await context.newPage();
page.on("pageerror", (error) => shown.errors.push(String(error.stack ?? error).slice(0, 500)));

const start = Date.now();
const tell = (step) => console.error(`${((Date.now() - start) / 1000).toFixed(1)} s: ${step}`);
const shoot = (name) => page.screenshot({ path: `${settings.out}/${name}.png` });

async function shootViewport(name) {
  await page.mouse.move(10, settings.size.height - 10); // away from what shows a card when hovered over
  await page.waitForTimeout(1500);
  await page.locator(".viewport-element").first().screenshot({ path: `${settings.out}/${name}.png` });
}

// Run a function in the page with cornerstone's viewport and what it depends on.
const inViewport = (body, argument) =>
  page.evaluate(
    ([text, value]) => {
      const { viewport } = window.cornerstone.getEnabledElements()[0];
      return new Function("viewport", "cornerstone", "services", "value", text)(
        viewport, window.cornerstone, window.services, value,
      );
    },
    [body, argument],
  );

const currentImage = () => inViewport("return viewport.getCurrentImageId() ?? ''");

// Wait until the image has been the same for a second, and return it.
async function settledImage() {
  let [image, since] = [await currentImage(), Date.now()];
  await until(async () => {
    const now = await currentImage();
    if (now !== image) [image, since] = [now, Date.now()];
    return Date.now() - since > 1000;
  });
  return image;
}

// Wait until a function returns something true; return what it returned last.
async function until(look) {
  const end = Date.now() + settings.timeout;
  for (;;) {
    const value = await look();
    if (value || Date.now() > end) return value;
    await page.waitForTimeout(150);
  }
}

async function scroll(delta) {
  await page.locator(".viewport-element").first().hover();
  await page.mouse.wheel(0, delta);
  await page.waitForTimeout(700);
}

async function openStudy() {
  await page.goto(`${settings.url}/viewer?StudyInstanceUIDs=${settings.study}`);
  await page.locator(THUMBNAILS).nth(settings.series - 1).waitFor();
  await page.getByTestId("viewport-overlay-bottom-right").filter({ hasText: /\(\d+\/\d+\)/ }).first().waitFor();
  await until(() => page.evaluate(() => window.cornerstone?.getEnabledElements().length));
}

const openSeries = (words) => page.locator(THUMBNAILS).filter({ hasText: words }).first().dblclick();

async function hydrate(panel) {
  await page.getByTestId("yes-hydrate-btn").click();
  await page.getByTestId("yes-hydrate-btn").waitFor({ state: "detached" });
  await page.getByTestId(panel).click();
}

async function lookAtList() {
  await page.goto(`${settings.url}/`);
  const row = page.getByText(/Phantom/).first();
  await row.waitFor();
  shown.list = await page.evaluate(() => document.body.innerText);
  tell("study list");
  await shoot("list");
}

async function lookAtStudy() {
  await openStudy();
  await lookAtSeries();
  await lookAtReport();
}

async function lookAtSeries() {
  shown.series = [];
  const thumbnails = page.locator(THUMBNAILS);
  await until(() => page.evaluate(() => {
    const images = [...document.querySelectorAll("[data-cy=study-browser-thumbnail] img")];
    return images.length > 1 && images.every((image) => image.naturalWidth > 0);
  }));
  for (const thumbnail of await thumbnails.all()) {
    shown.series.push({
      text: (await thumbnail.innerText()).split(/\s*\n\s*/).join(" "),
      images: await thumbnail.locator("img").evaluateAll((all) => all.filter((one) => one.naturalWidth > 0).length),
    });
  }
  tell("series");
}

async function lookAtCaptures() {
  await openSeries("captures");
  const overlay = page.getByTestId("viewport-overlay-bottom-right").filter({ hasText: /\(1\/[1-8]\)/ });
  await overlay.first().waitFor();
  shown.captures = await overlay.first().innerText();
  tell("captures");
  await until(() => inViewport("return viewport.getImageData?.()"));
  await shoot("captures");
}

// The center of the ring that marks a measurement, as column and row of the slice.
const ringPixel = () =>
  inViewport(`
    const ring = [...viewport.element.querySelectorAll("svg circle")].find((one) => one.getAttribute("cx"));
    if (!ring) return null;
    const world = viewport.canvasToWorld([+ring.getAttribute("cx"), +ring.getAttribute("cy")]);
    return cornerstone.utilities.worldToImageCoords(viewport.getCurrentImageId(), world).map(Number);
  `);

async function lookAtReport() {
  await openSeries("fracture report");
  await page.getByTestId("yes-hydrate-btn").waitFor();
  const label = page.locator(".viewport-element svg").filter({ hasText: "Probability" }).first();
  await until(async () => {
    if (await label.count()) return true;
    await scroll(100); // OHIF may draw the marks of a report only once the image moves
    return scroll(-100);
  });
  shown.report = { label: await label.textContent(), measurements: [] };
  tell("report");
  await shoot("report");
  await hydrate("trackedMeasurements-btn");
  const rows = page.getByTestId("data-row");
  await until(async () => (await rows.count()) >= Object.keys(settings.marks).length);
  for (const row of (await rows.all()).reverse()) {
    await row.click();
    const text = (await row.locator("..").innerText()).split(/\s*\n\s*/).join(" ");
    const vertebra = text.match(/C[1-7](?= vertebra)/)?.[0];
    const mark = settings.marks[vertebra] ?? { image: "?", pixel: [0, 0] };
    await until(async () => (await currentImage()).includes(mark.image));
    const image = await settledImage();
    await until(async () => {
      const ring = await ringPixel(); // that of the slice before may stay for a while
      return ring && Math.hypot(ring[0] - mark.pixel[0], ring[1] - mark.pixel[1]) < 1;
    });
    shown.report.measurements.push({ text, vertebra, image, ring: await ringPixel() });
    tell(`measurement of ${vertebra}`);
    await shoot(`measurement-${vertebra}`);
  }
}

// The color is empty of a row that is drawn anew at this moment.
async function listSegments(rows) {
  const segments = [];
  for (const row of await rows.all()) {
    const dot = row.locator("span.rounded-full").first();
    segments.push({
      label: (await row.innerText()).split(/\s*\n\s*/).slice(1).join(" "),
      color: await dot.evaluate((one) => getComputedStyle(one).backgroundColor),
    });
  }
  return segments;
}

async function lookAtSegmentation(words, slices) {
  const labels = Object.keys(slices);
  await openStudy();
  await openSeries(words);
  await hydrate("panelSegmentation-btn");
  tell(`segmentation: ${words}`);
  const rows = page.getByTestId("data-row");
  let segments = [];
  await until(async () => {
    segments = await listSegments(rows);
    return segments.length >= labels.length && segments.every((one) => one.color);
  });
  const found = (shown.segmentations[words] = { segments, jumps: {} });
  for (const label of labels) {
    await rows.filter({ hasText: label }).first().click();
    await until(async () => slices[label].includes((await currentImage()).match(/instances\/([\d.]+)/)?.[1]));
    const image = await settledImage();
    const name = `${words}-${label.match(/C[1-7]/)[0]}`;
    await shootViewport(`${name}-on`);
    found.jumps[label] = { image, name };
    tell(`jumped to ${label}`);
  }
  await shoot(words);
  const last = labels.at(-1);
  await rows.filter({ hasText: last }).first().locator("[aria-label=Hide]").first().click();
  await shootViewport(`${found.jumps[last].name}-off`);
}

// OHIF's own races are no findings: what stopped is tried once more.
async function twice(look) {
  try {
    await look();
  } catch (error) {
    tell(`once more, for ${String(error).slice(0, 300)}`);
    await look();
  }
}

try {
  await twice(lookAtList);
  await twice(lookAtStudy);
  await lookAtCaptures();
  for (const [words, slices] of Object.entries(settings.segments)) await twice(() => lookAtSegmentation(words, slices));
} catch (error) {
  shown.stopped = String(error).slice(0, 1500);
  await shoot("stopped").catch(() => {});
} finally {
  console.log(JSON.stringify(shown));
  await browser.close();
}
