// Three things: drop pictures, renew the parts of the page that live, tell a screen reader.
// Every element with `data-live` is fetched again after `data-every` milliseconds; what the server
// sends replaces it, except for children with an id that have not changed (so pictures stay put).
"use strict";

const asPart = { "X-Part": "1" };
const said = document.getElementById("said");
const timers = new Map();

function parse(html) {
  return new DOMParser().parseFromString(html, "text/html").body;
}

/** Put `fresh` in the place of `old`, keeping whatever child with an id is the same in both. */
function graft(old, fresh) {
  if (old.outerHTML === fresh.outerHTML) return old;
  for (const child of fresh.querySelectorAll("[id]")) {
    const known = document.getElementById(child.id);
    if (known && known.outerHTML === child.outerHTML) child.replaceWith(known);
  }
  const focused = old.contains(document.activeElement) && document.activeElement;
  old.replaceWith(fresh);
  if (focused && !focused.isConnected) {
    const twin = focused.closest("[id]") && document.getElementById(focused.closest("[id]").id);
    (twin?.querySelector("a") ?? twin)?.focus?.();
  }
  return fresh;
}

function tell(text) {
  if (text && said.textContent !== text) said.textContent = text;
}

function watch(root) {
  for (const part of root.querySelectorAll("[data-live]")) {
    clearTimeout(timers.get(part.id));
    timers.set(part.id, setTimeout(renew, Number(part.dataset.every), part.id));
  }
}

async function renew(id) {
  const part = document.getElementById(id);
  if (!part?.dataset.live) return;
  let wait = Number(part.dataset.every);
  if (document.hidden) {
    wait = Math.max(wait, 1000);
  } else {
    try {
      const answer = await fetch(part.dataset.live, { headers: asPart });
      const fresh = answer.ok && parse(await answer.text()).firstElementChild;
      if (fresh && part.isConnected) {
        const now = graft(part, fresh);
        tell(now.dataset.said);
        if (!now.dataset.live) return;
        wait = Number(now.dataset.every);
      }
      if (!answer.ok) wait = 5000;
    } catch {
      wait = 5000; // the server is away: it may come back
    }
  }
  timers.set(id, setTimeout(renew, wait, id));
}

const form = document.querySelector("form.drop");

function fault(text) {
  const line = Object.assign(document.createElement("p"), { className: "fault", textContent: text });
  line.setAttribute("role", "alert");
  document.getElementById("answer").replaceChildren(line);
}

async function send(files) {
  const bytes = [...files].reduce((sum, file) => sum + file.size, 0);
  if (!files.length) return;
  if (files.length > form.dataset.pictures) return fault(`at most ${form.dataset.pictures} pictures at once`);
  if (bytes > form.dataset.bytes) return fault(`at most ${form.dataset.bytes >> 20} MB at once`);
  const body = new FormData();
  body.append("model", form.elements.model.value);
  for (const file of files) body.append("picture", file, file.name);
  form.classList.add("sending");
  tell("sending");
  try {
    const answer = await fetch(form.action, { method: "POST", body, headers: asPart });
    const place = document.getElementById("answer");
    place.replaceChildren(...parse(await answer.text()).children);
    watch(place);
    renew("jobs");
    tell(place.querySelector("[data-said]")?.dataset.said);
  } catch {
    fault("the server does not answer: is 'classyard web' running?");
  }
  form.classList.remove("sending");
}

if (form) {
  const input = form.elements.picture;
  form.classList.add("live");
  input.addEventListener("change", () => send(input.files).then(() => (input.value = "")));
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("paste", (event) => send(event.clipboardData.files));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      form.classList.toggle("over", kind === "dragover");
      if (kind === "drop") send(event.dataTransfer.files);
    });
  }
}
watch(document);
