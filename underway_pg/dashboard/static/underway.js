// Comfort for a dashboard that works without it: live updates, selection, shortcuts and the colour scheme.
"use strict";
(() => {
  const root = document.documentElement;
  const base = root.dataset.base;
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  root.classList.add("with-script");

  // Forms that are sent when a choice changes.
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-submit]");
    if (form) form.requestSubmit();
  });

  // Text that is copied with a button.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const text = find(button.dataset.copy)?.textContent ?? "";
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy it";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });

  // A menu closes when something else is clicked.
  document.addEventListener("click", (event) => {
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  // Selection of rows.
  const boxes = (form) => all("input[type=checkbox][name=task]", form);
  function showSelection(form) {
    const chosen = boxes(form).filter((box) => box.checked).length;
    const every = find("[data-select-all]", form);
    if (every) {
      every.checked = chosen > 0 && chosen === boxes(form).length;
      every.indeterminate = chosen > 0 && !every.checked;
    }
    for (const place of all("[data-selected]", form)) place.textContent = chosen ? `${chosen} selected` : "";
    form.classList.toggle("has-selection", chosen > 0);
  }
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-selection]");
    if (!form) return;
    if (event.target.matches("[data-select-all]")) {
      for (const box of boxes(form)) box.checked = event.target.checked;
    }
    showSelection(form);
  });
  for (const form of all("form[data-selection]")) showSelection(form);

  // Live updates: the server sends a tick, and the page is fetched again, unless somebody is at work in it.
  const toggle = find("[data-live-toggle]");
  let stream = null;
  let paused = sessionStorage.getItem("underway-paused") === "yes";
  let fetching = false;

  const main = () => find("main[data-live]");
  function isChanged(field) {
    if (field.name === "task" || field.matches("[data-select-all]")) return false;
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    if (field.tagName !== "SELECT") return field.type !== "hidden" && field.value !== field.defaultValue;
    const preset = [...field.options].findIndex((option) => option.defaultSelected);
    return !field.multiple && field.selectedIndex !== Math.max(0, preset);
  }
  function busy() {
    const page = main();
    const active = document.activeElement;
    return fetching || !page || all("input, select, textarea", page).some(isChanged) ||
      (page.contains(active) && active.matches("input:not([type=checkbox]), select, textarea")) ||
      find("input[name=task]:checked", page) !== null ||
      find(".hover:hover, button:active, a:active", page) !== null ||
      find("dialog[open]") !== null ||
      String(getSelection()) !== "";
  }
  // Where a part of the page is, so that it is found in the next version.
  function place(element, selector) {
    const near = element.parentElement.closest("[id]");
    return `${near.id} ${all(selector, near).indexOf(element)}`;
  }
  function found(key, selector) {
    const [id, index] = key.split(" ");
    const near = document.getElementById(id);
    return near ? all(selector, near)[Number(index)] : undefined;
  }
  async function refresh() {
    if (busy()) return;
    fetching = true;
    try {
      const response = await fetch(location.href, { headers: { "X-Underway-Live": "1" }, redirect: "manual" });
      if (response.status === 401 || response.type === "opaqueredirect") {
        location.reload();
        return;
      }
      const next = find("main", new DOMParser().parseFromString(await response.text(), "text/html"));
      fetching = false;
      if (!next || busy()) return;
      const page = main();
      const focus = document.activeElement;
      const focusKey = page.contains(focus) && focus !== page ? place(focus, "a, button, summary, input[type=checkbox]") : null;
      const row = all("tr", page).findIndex((each) => each.classList.contains("current"));
      const open = all("details", page).map((each) => [place(each, "details"), each.open]);
      const scrolled = all(".table-wrap, pre", page).map((each) => [place(each, ".table-wrap, pre"), each.scrollLeft, each.scrollTop]);
      page.replaceChildren(...next.childNodes);
      for (const [key, was] of open) { const each = found(key, "details"); if (each) each.open = was; }
      for (const [key, left, top] of scrolled) {
        const each = found(key, ".table-wrap, pre");
        if (each) { each.scrollLeft = left; each.scrollTop = top; }
      }
      if (row >= 0) all("tr", page)[row]?.classList.add("current");
      if (focusKey) found(focusKey, "a, button, summary, input[type=checkbox]")?.focus({ preventScroll: true });
      for (const form of all("form[data-selection]", page)) showSelection(form);
      showState("live");
    } catch {
      showState("away");
    } finally {
      fetching = false;
    }
  }
  function showState(state) {
    if (!toggle) return;
    toggle.hidden = !main();
    toggle.dataset.state = paused ? "paused" : state;
    toggle.setAttribute("aria-pressed", String(!paused));
    toggle.title = paused ? "Updates are paused (p)" : state === "away" ? "No connection, trying again" : "Updates are on (p)";
    find("span:last-child", toggle).textContent = paused ? "Paused" : state === "away" ? "Offline" : "Live";
  }
  function connect() {
    const wanted = main() && !paused && document.visibilityState === "visible";
    if (!wanted) {
      stream?.close();
      stream = null;
    } else if (!stream) {
      stream = new EventSource(`${base}/live`);
      stream.addEventListener("tick", refresh);
      stream.addEventListener("open", () => showState("live"));
      stream.addEventListener("error", () => showState("away"));
    }
    showState("live");
  }
  function pause() {
    paused = !paused;
    sessionStorage.setItem("underway-paused", paused ? "yes" : "no");
    connect();
    if (!paused) refresh();
  }
  toggle?.addEventListener("click", pause);
  document.addEventListener("visibilitychange", () => { connect(); if (stream) refresh(); });
  addEventListener("pagehide", () => { stream?.close(); stream = null; });
  addEventListener("pageshow", connect);
  connect();

  // Shortcuts.
  const help = find("dialog[data-shortcuts]");
  for (const button of all("[data-show-shortcuts]")) {
    button.hidden = false;
    button.addEventListener("click", () => help.showModal());
  }
  function move(by) {
    const rows = all("main tbody tr");
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.classList.contains("current"));
    rows[at]?.classList.remove("current");
    const row = rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
    row.classList.add("current");
    row.scrollIntoView({ block: "nearest" });
    find("a", row)?.focus({ preventScroll: true });
  }
  let afterG = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox]), select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (Date.now() - afterG < 1500) {
      afterG = 0;
      const link = find(`.navigation a[data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    const row = find("main tr.current");
    switch (event.key) {
      case "g": afterG = Date.now(); break;
      case "j": move(1); break;
      case "k": move(-1); break;
      case "o": if (row) find("a", row)?.click(); break;
      case "x": if (row) find("input[type=checkbox]", row)?.click(); break;
      case "p": if (main()) pause(); break;
      case "r": refresh(); break;
      case "?": help?.showModal(); break;
      case "/": {
        const field = find("[data-search]");
        if (field) {
          event.preventDefault();
          for (let fold = field.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
          field.focus();
          field.select?.();
        }
        break;
      }
    }
  });
})();
