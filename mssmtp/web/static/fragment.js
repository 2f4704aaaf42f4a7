// The secret of a link stands behind '#', which no server ever logs: it is put into the form here,
// and out of the address. Without scripts it is pasted by hand.
"use strict";
(() => {
  const secret = decodeURIComponent(location.hash.slice(1));
  const field = document.querySelector("[data-fragment]");
  if (!secret || !field) return;
  field.value = secret;
  const place = field.closest(".field");
  if (place) place.hidden = true;
  history.replaceState(null, "", location.pathname + location.search);
})();
