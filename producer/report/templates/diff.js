// Filters for the images side by side; without it they are all shown.
"use strict";
(() => {
  const form = document.querySelector(".filters");
  if (!form) return;
  const byId = (id) => document.getElementById(id);
  const images = [...document.querySelectorAll(".versus > li")];

  function choose() {
    const part = byId("by-name").value.trim().toLowerCase();
    const a = byId("by-a").value, b = byId("by-b").value;
    let count = 0;
    for (const image of images) {
      const { name, a: labelA, b: labelB } = image.dataset;
      const holds = (!a || labelA === a) && (!b || labelB === b) && name.toLowerCase().includes(part);
      image.hidden = !holds;
      count += holds;
    }
    byId("found").textContent = count ? `${count} of ${images.length} images` : "No image matches.";
  }

  form.addEventListener("input", choose);
  form.addEventListener("reset", () => setTimeout(choose));
  form.addEventListener("submit", (event) => event.preventDefault());
  choose();
})();
