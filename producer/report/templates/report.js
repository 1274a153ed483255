// The table of all images. Rows come packed in the page; names reach it as text only, never as markup.
"use strict";
(() => {
  const PAGE = 50;
  const byId = (id) => document.getElementById(id);
  const names = JSON.parse(byId("names").textContent);
  const table = byId("table");
  const form = document.querySelector(".filters");
  const percent = (score) => (score / 100).toFixed(1) + "%";
  const number = (count) => count.toLocaleString("en");
  let rows = [];
  let found = [];
  let page = 0;
  let folder = "";

  // A row: [position, image, link, [label, score, ...], truth] or [position, image, link, code, error].
  const ok = (row) => Array.isArray(row[3]);
  const sure = (row) => (ok(row) ? row[3][1] : -1);
  const margin = (row) => (ok(row) ? row[3][1] - (row[3][3] ?? 0) : 1e9);
  const wrong = (row) => ok(row) && row[4] !== undefined && names[row[4]] !== names[row[3][0]];

  function element(tag, className, ...children) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children);
    return made;
  }

  async function unpack() {
    if (!("DecompressionStream" in window)) throw new Error("this browser is too old");
    const packed = Uint8Array.from(atob(byId("rows").textContent), (sign) => sign.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const text = await new Response(stream).text();
    // Only "\n" ends a line: a name may hold other separators.
    rows = text ? text.trimEnd().split("\n").map((line) => JSON.parse(line)) : [];
  }

  // What all names begin with, up to a slash: said once instead of on every line.
  function common() {
    let start = rows.length > 1 ? rows[0][1] : "";
    for (const row of rows) {
      while (!row[1].startsWith(start)) start = start.slice(0, start.slice(0, -1).lastIndexOf("/") + 1);
    }
    start = start.slice(0, start.lastIndexOf("/") + 1);
    return start.endsWith("//") ? "" : start;
  }

  const tests = {
    ok,
    failed: (row) => !ok(row),
    wrong,
  };

  function choose() {
    const part = byId("by-name").value.trim().toLowerCase();
    const label = byId("by-label").value;
    const status = byId("by-status").value;
    const low = byId("from-score").value, high = byId("to-score").value;
    const holds = status && (Object.hasOwn(tests, status) ? tests[status] : (row) => row[3] === status);
    found = rows.filter((row) =>
      (!holds || holds(row)) &&
      (!label || (ok(row) && names[row[3][0]] === label)) &&
      (low === "" || (ok(row) && row[3][1] >= low * 100)) &&
      (high === "" || (ok(row) && row[3][1] <= high * 100)) &&
      (!part || row[1].toLowerCase().includes(part)));
    const order = byId("order").value;
    if (order === "sure") found.sort((a, b) => sure(b) - sure(a) || a[0] - b[0]);
    if (order === "unsure") found.sort((a, b) => !ok(a) - !ok(b) || sure(a) - sure(b) || a[0] - b[0]);
    if (order === "margin") found.sort((a, b) => margin(a) - margin(b) || a[0] - b[0]);
    page = 0;
    show();
  }

  function image(row) {
    const cell = element("td", "");
    const known = document.querySelector(`.frame img[data-at="${row[0]}"]`);
    if (known) {
      const copy = element("img", known.className);
      copy.alt = "";
      copy.src = known.src;
      cell.append(copy);
    }
    return cell;
  }

  function name(row) {
    const text = element("bdi", "path", row[1].slice(folder.length));
    let shown = text;
    if (row[2]) {
      shown = element("a", "", text);
      shown.href = row[2];
      shown.rel = "noreferrer";
    }
    return element("td", "", shown, element("div", "note", `position ${number(row[0])}`));
  }

  function answer(row) {
    if (!ok(row)) {
      return [element("td", "code", row[3]), element("td", "note", element("bdi", "", row[4]))];
    }
    const [label, score, ...rest] = row[3];
    const share = score ? Math.min(100, Math.max(1, Math.round(score / 100))) : 0;
    const bar = element("span", "bar", element("span", `fill w${share}`));
    bar.setAttribute("aria-hidden", "true");
    const best = element("div", "answer", element("bdi", "", names[label]), element("b", "", percent(score)), bar);
    if (wrong(row)) best.append(element("span", "wrong", "truth: ", element("bdi", "", names[row[4]])));
    const others = element("td", "note");
    for (let at = 0; at < rest.length; at += 2) {
      others.append(at ? ", " : "", element("bdi", "", names[rest[at]]), ` ${percent(rest[at + 1])}`);
    }
    return [element("td", "", best), others];
  }

  function show() {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    const start = page * PAGE;
    const part = found.slice(start, start + PAGE);
    table.tBodies[0].replaceChildren(...part.map((row) => element("tr", "", image(row), name(row), ...answer(row))));
    table.hidden = !part.length;
    byId("found").textContent = found.length
      ? `${number(start + 1)} to ${number(start + part.length)} of ${number(found.length)} images`
      : rows.length ? "No image matches." : "No image has ended yet.";
    document.querySelector(".pager").hidden = pages === 1;
    byId("page").textContent = `page ${number(page + 1)} of ${number(pages)}`;
    byId("back").disabled = page === 0;
    byId("next").disabled = page === pages - 1;
  }

  function turn(by) {
    page += by;
    show();
    byId("images").scrollIntoView();
  }

  let waiting = 0;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(choose, 120);
  });
  form.addEventListener("reset", () => setTimeout(choose));
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("back").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  // "Show me these": a label of a chart, a code of the failures.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-label], a[data-status]");
    if (!link) return;
    form.reset();
    if (link.dataset.label !== undefined) byId("by-label").value = link.dataset.label;
    if (link.dataset.status !== undefined) byId("by-status").value = link.dataset.status;
    choose();
  });

  unpack().then(() => {
    folder = common();
    byId("folder").hidden = !folder;
    byId("folder").lastElementChild.textContent = folder;
    choose();
  }).catch((error) => {
    byId("found").textContent = `The table cannot be shown: ${error.message}.`;
  });
})();
