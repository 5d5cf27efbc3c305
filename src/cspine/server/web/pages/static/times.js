// Times in the time zone of the reader; without this script they are in UTC.
"use strict";

for (const element of document.querySelectorAll("time")) {
  const time = new Date(element.dateTime);
  element.title = element.textContent;
  element.textContent = time.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
