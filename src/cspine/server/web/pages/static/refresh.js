// The page loads itself anew, unless somebody works in it.
"use strict";

setInterval(() => {
  if (!document.hidden && !document.activeElement?.closest("form")) location.reload();
}, 30_000);
