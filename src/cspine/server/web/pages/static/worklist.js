// The worklist keeps itself up to date, and is moved through by keys. It works without this script, too.
"use strict";

const REFRESH_MS = 10_000;
const list = document.getElementById("worklist");
const live = document.getElementById("live");
let tag = null;

const links = () => [...list.querySelectorAll(".study a")];
const keep = () => sessionStorage.setItem("worklist", JSON.stringify(links().map((link) => link.getAttribute("href"))));

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(list.dataset.rows, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
    if (answer.status === 401) { location.reload(); return; }
    if (answer.status !== 200) {
      if (answer.status !== 304) throw new Error(answer.status);
      live.textContent = `Up to date at ${new Date().toLocaleTimeString()}.`;
      return;
    }
    tag = answer.headers.get("ETag");
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html"); // runs no script
    const focused = document.activeElement?.closest("#worklist a")?.getAttribute("href");
    list.replaceChildren(...parsed.body.childNodes);
    keep();
    if (focused) links().find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
    live.textContent = `Up to date at ${new Date().toLocaleTimeString()}.`;
  } catch {
    live.textContent = "The server does not answer; the list may be old.";
  }
}

function move(step) {
  const all = links();
  const now = all.indexOf(document.activeElement);
  all[Math.min(Math.max(now + step, 0), all.length - 1)]?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  if (event.key === "j" || event.key === "ArrowDown" && event.target.closest("#worklist")) move(1);
  else if (event.key === "k" || event.key === "ArrowUp" && event.target.closest("#worklist")) move(-1);
  else if (event.key === "/") document.getElementById("q").focus();
  else if (/^[1-6]$/.test(event.key)) document.querySelectorAll(".views a")[event.key - 1]?.click();
  else return;
  event.preventDefault();
});

document.getElementById("upload").addEventListener("submit", (event) => {
  event.preventDefault();
  const bar = document.getElementById("upload-progress");
  const answer = document.getElementById("upload-answer");
  const request = new XMLHttpRequest(); // fetch does not tell the progress of uploads
  request.open("POST", "/api/uploads");
  request.setRequestHeader("Content-Type", "application/zip");
  request.setRequestHeader("X-CSRF-Token", event.target.dataset.csrf);
  request.responseType = "json";
  request.upload.onprogress = (step) => { if (step.lengthComputable) bar.value = step.loaded / step.total; };
  request.onload = () => {
    bar.hidden = true;
    const body = request.response ?? {};
    answer.textContent = body.error ? body.error.message : `${body.stored} objects stored, ${body.repeated} were there already.`;
    refresh();
  };
  request.onerror = () => { bar.hidden = true; answer.textContent = "The server does not answer."; };
  bar.hidden = false;
  answer.textContent = "";
  request.send(document.getElementById("zip").files[0]);
});

keep();
setInterval(refresh, REFRESH_MS);
document.addEventListener("visibilitychange", refresh);
