// The report's frame is as high as the report; keys lead to the worklist, the images and the report.
"use strict";

const frame = document.getElementById("report-frame");

function fit() {
  const body = frame?.contentDocument?.body; // of our own server, and without scripts
  if (body && body.scrollHeight > 100) frame.style.height = `${Math.ceil(body.getBoundingClientRect().height) + 8}px`;
}

frame?.addEventListener("load", fit);
window.addEventListener("resize", fit);
fit();

// The studies of the worklist that led here, in its order.
function go(step) {
  const addresses = JSON.parse(sessionStorage.getItem("worklist") ?? "[]");
  const next = addresses[addresses.indexOf(location.pathname) + step];
  if (next && addresses.includes(location.pathname)) location.assign(next);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input[type=text], select, textarea")) return;
  if (event.key === "u") document.getElementById("back").click();
  else if (event.key === "v") document.querySelector("a[target=viewer]")?.click();
  else if (event.key === "j") go(1);
  else if (event.key === "k") go(-1);
  else if (event.key === "r") document.getElementById("report")?.scrollIntoView();
});

// An answer that is awaited: the page loads itself anew until it is there.
const awaited = document.querySelector(".notice[role=status]");
if (awaited) setTimeout(() => location.reload(), 10_000);
