"use strict";
// Every text goes in as textContent: names come from files that anybody may have written.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const PAGE = 100;
let tab = "tags";
let limit = PAGE;
const fold = (text) => text.toLowerCase().replaceAll("-", " ");

for (const kind of data.kinds) byId("kind").append(new Option(kind, kind));
for (const source of data.sources) byId("source").append(new Option(source, source));

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

function button(text, onClick) {
  const made = element("button", "", text);
  made.addEventListener("click", onClick);
  return made;
}

function kindOf(kind) {
  return element("span", `kind ${kind}`, kind);
}

function names(label, list) {
  if (!list.length) return null;
  const line = element("div", "detail", `${label} `);
  list.forEach((text, number) => line.append(number ? ", " : "", element("em", "", text)));
  return line;
}

function aliases(list) {
  if (!list.length) return null;
  const line = element("div", "detail", "also ");
  list.forEach(([text, reason, evidence], number) => {
    line.append(number ? ", " : "", element("em", "", text));
    line.append(element("span", "why", ` (${reason}: ${evidence})`));
  });
  return line;
}

// "fish as action" where another tag has the name
function exact(tag) {
  return data.repeated.includes(fold(tag.name)) ? `${tag.name} as ${tag.kind}` : tag.name;
}

const views = {
  tags: {
    rows: data.tags,
    text: (tag) => [tag.name, ...tag.aliases.map((alias) => alias[0]), ...tag.sources].join("\n"),
    keep: (tag, kind, source) => (!kind || tag.kind === kind) && (!source || tag.sources.includes(source)),
    draw(tag) {
      const seen = tag.frequency ? `${tag.frequency.toLocaleString("en")} captions` : "";
      const facts = element("small", "", [`#${tag.id}`, seen].filter(Boolean).join("  ·  "));
      return [
        element("div", "name", tag.name, kindOf(tag.kind), facts),
        element("div", "acts",
          button("Reject", () => decide(`reject ${exact(tag)}`)),
          button("Merge", () => mergeTag(tag))),
        aliases(tag.aliases),
        names("under", tag.parents),
        names("from", tag.sources),
      ];
    },
  },
  merged: {
    rows: data.tags.flatMap((tag) => tag.aliases.map(([text, reason, evidence]) => ({ tag, text, reason, evidence }))),
    text: (merge) => `${merge.text}\n${merge.tag.name}\n${merge.reason}\n${merge.evidence}`,
    keep: (merge, kind, source) => (!kind || merge.tag.kind === kind) && (!source || merge.evidence.includes(source)),
    draw: (merge) => [
      element("div", "name", `${merge.text} \u2192 ${merge.tag.name}`, kindOf(merge.tag.kind)),
      element("div", "acts",
        button("Keep apart", () => decide(`keep ${merge.text} apart from ${exact(merge.tag)}`))),
      element("div", "detail", `${merge.reason}: ${merge.evidence}`),
    ],
  },
  proposals: {
    rows: data.proposals,
    text: (pair) => `${pair.name}\n${pair.other}\n${pair.why}`,
    keep: () => true,
    draw: (pair) => [
      element("div", "name", `${pair.name} = ${pair.other}?`),
      element("div", "acts",
        button("Merge", () => decide(`merge ${pair.other} into ${pair.name}`)),
        button("Keep apart", () => decide(`keep ${pair.other} apart from ${pair.name}`))),
      element("div", "detail", pair.why),
    ],
  },
  dropped: {
    rows: data.dropped,
    text: (tag) => `${tag.name}\n${tag.sources.join("\n")}`,
    keep: (tag, kind, source) => (!kind || tag.kind === kind) && (!source || tag.sources.includes(source)),
    draw: (tag) => [
      element("div", "name", tag.name, kindOf(tag.kind)),
      element("div", "acts", button("Accept", () => decide(`accept ${tag.name} as ${tag.kind}`))),
      element("div", "detail", tag.why),
      names("from", tag.sources),
    ],
  },
  problems: {
    rows: data.problems,
    text: (problem) => problem,
    keep: () => true,
    draw: (problem) => [element("div", "detail", problem)],
  },
};

function mergeTag(tag) {
  const into = window.prompt(`Merge "${tag.name}" into which tag?`);
  if (into && into.trim()) decide(`merge ${exact(tag)} into ${into.trim()}`);
}

function draw() {
  const view = views[tab];
  const words = fold(byId("search").value).split(/\s+/).filter(Boolean);
  const [kind, source] = [byId("kind").value, byId("source").value];
  const fitting = view.rows.filter((row) => {
    const text = fold(view.text(row));
    return words.every((word) => text.includes(word)) && view.keep(row, kind, source);
  });
  const drawn = fitting.slice(0, limit).map((row) => element("li", "", ...view.draw(row).filter(Boolean)));
  byId("rows").replaceChildren(...drawn);
  byId("rows").hidden = !drawn.length;
  byId("empty").hidden = drawn.length > 0;
  byId("more").hidden = fitting.length <= limit;
  byId("shown").textContent = `${fitting.length.toLocaleString("en")} of ${view.rows.length.toLocaleString("en")}`;
  for (const select of ["kind", "source"]) byId(select).disabled = tab === "proposals" || tab === "problems";
}

function redraw() {
  limit = PAGE;
  draw();
}

// Decisions stay in the browser until they are copied; a page without storage just forgets them.
const KEY = `ram-ray decisions ${data.build}`;

function stored() {
  try { return window.localStorage.getItem(KEY) || ""; } catch { return ""; }
}

function show(text) {
  try { window.localStorage.setItem(KEY, text); } catch { /* private window */ }
  const count = text.split("\n").filter((line) => line.trim()).length;
  byId("decisions").hidden = !count;
  byId("count").textContent = count === 1 ? "1 decision" : `${count} decisions`;
}

function decide(line) {
  const lines = byId("lines").value.split("\n").filter((one) => one.trim() && one !== line);
  byId("lines").value = [...lines, line].join("\n") + "\n";
  byId("lines").scrollTop = byId("lines").scrollHeight;
  show(byId("lines").value);
}

byId("lines").value = stored();
show(byId("lines").value);
byId("lines").addEventListener("input", () => show(byId("lines").value));
byId("clear").addEventListener("click", () => { byId("lines").value = ""; show(""); });
byId("copy").addEventListener("click", async () => {
  byId("lines").select();
  try { await navigator.clipboard.writeText(byId("lines").value); } catch { document.execCommand("copy"); }
  byId("copy").textContent = "Copied";
  setTimeout(() => { byId("copy").textContent = "Copy lines"; }, 1500);
});

for (const one of document.querySelectorAll("[role=tab]")) {
  one.addEventListener("click", () => {
    tab = one.dataset.tab;
    for (const other of document.querySelectorAll("[role=tab]")) other.setAttribute("aria-selected", String(other === one));
    redraw();
  });
}
for (const id of ["search", "kind", "source"]) byId(id).addEventListener("input", redraw);
byId("more").addEventListener("click", () => { limit += 5 * PAGE; draw(); });
draw();
