// The row of choices: threshold, kinds, the visitor's own words.

import { searchTags } from "./api.js";
import { byId, h } from "./element.js";
import { runAgain } from "./queue.js";
import { changed, currentModel, KINDS, onChange, state } from "./state.js";
import { language, t } from "./text.js";
import { percent, tagName } from "./tags.js";

const SEARCH_PAUSE_MS = 150;

/** Wire the row; call once. */
export function setUpChoices() {
  byId("choices").addEventListener("submit", (event) => {
    event.preventDefault();
    lookFor(byId("words").value.split(/[,，、;\n]/).map((word) => word.trim()).filter(Boolean));
  });
  byId("words-reset").addEventListener("click", () => {
    byId("words").value = "";
    lookFor([]);
  });
  byId("words").addEventListener("input", suggest);
  byId("threshold").addEventListener("input", (event) => useThreshold(Number(event.target.value)));
  for (const radio of document.querySelectorAll("input[name=threshold]")) {
    radio.addEventListener("change", () => {
      useThreshold(radio.value === "own" ? "own" : Number(byId("threshold").value));
    });
  }
  byId("captions").addEventListener("click", () => {
    state.captions = !state.captions;
    const missing = state.pictures.some((picture) => picture.result && picture.result.caption === null);
    if (state.captions && missing) runAgain();
    else changed();
  });
  onChange(draw);
}

function useThreshold(threshold) {
  state.threshold = threshold;
  changed();
}

function lookFor(words) {
  const wanted = [...new Set(words)];
  const same = wanted.join("\n") === state.words.join("\n");
  state.words = wanted;
  state.wordsError = null;
  if (same) changed();
  else runAgain();
}

/** Say in one line what is chosen, for the panel is mostly closed. */
function drawSummary() {
  const parts = [state.threshold === "own" ? t("threshold_own") : percent(state.threshold)];
  parts.push(...[...state.kinds].map((kind) => t(`kind_${kind}`)));
  if (state.captions) parts.push(t("captions"));
  if (state.words.length > 0) parts.push(state.words.join(", "));
  byId("choices-now").textContent = parts.join(" · ");
}

function draw() {
  drawSummary();
  if (state.wordsError) byId("choices-panel").open = true;
  const own = state.threshold === "own";
  document.querySelector(`input[name=threshold][value=${own ? "own" : "one"}]`).checked = true;
  byId("threshold").classList.toggle("idle", own);
  const value = own ? "" : t("threshold_value", { value: percent(state.threshold) });
  byId("threshold-value").textContent = own ? t("threshold_own_hint") : value;
  byId("threshold").setAttribute("aria-valuetext", own ? t("threshold_own") : value);
  drawKinds();
  byId("extras").hidden = !currentModel()?.caption;
  byId("captions").setAttribute("aria-pressed", String(state.captions));
  const model = currentModel();
  const hint = model?.openSet ? "words_hint_open" : "words_hint_closed";
  byId("words-hint").textContent = state.wordsError ?? (state.words.length > 0
    ? t("words_active", { words: state.words.join(", ") })
    : t(hint, { count: model?.numTags.toLocaleString() ?? "" }));
  byId("words-hint").classList.toggle("wrong", state.wordsError !== null);
  byId("words").setAttribute("aria-invalid", String(state.wordsError !== null));
  byId("words-reset").hidden = state.words.length === 0;
  byId("no-chinese").hidden = language() !== "zh" || model === null || model.chinese;
}

function drawKinds() {
  const present = new Set(state.pictures.flatMap((each) => each.result?.tags ?? []).map((tag) => tag.kind));
  const kinds = KINDS.filter((kind) => present.has(kind) || state.kinds.has(kind));
  byId("kinds-choice").hidden = kinds.length < 2;
  const box = byId("kinds");
  const wanted = ["all", ...kinds].join();
  if (box.dataset.kinds !== wanted) {
    box.dataset.kinds = wanted;
    box.replaceChildren(...["all", ...kinds].map((kind) => h("button", {
      type: "button", class: "chip", "data-kind": kind, onclick: () => toggleKind(kind),
    })));
  }
  for (const button of box.children) {
    const kind = button.dataset.kind;
    button.textContent = t(`kind_${kind}`);
    const pressed = kind === "all" ? state.kinds.size === 0 : state.kinds.has(kind);
    button.setAttribute("aria-pressed", String(pressed));
  }
}

function toggleKind(kind) {
  if (kind === "all") state.kinds.clear();
  else if (!state.kinds.delete(kind)) state.kinds.add(kind);
  changed();
}

let timer;
let asked = 0;

/** Offer tags of the vocabulary for the word that is being typed. */
function suggest() {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    const parts = byId("words").value.split(",");
    const typed = parts.at(-1).trim();
    const before = parts.slice(0, -1).map((part) => part.trim());
    if (typed === "" || state.model === null) return;
    asked += 1;
    const question = asked;
    let tags = [];
    try {
      tags = await searchTags(typed, state.model);
    } catch (error) {
      console.warn("No suggestions:", error.message); // typing goes on without them
    }
    if (question !== asked) return; // typed on meanwhile
    byId("words-known").replaceChildren(...tags.map((tag) => h("option", {
      value: [...before, tag.name].join(", "), label: tagName(tag, language()),
    })));
  }, SEARCH_PAUSE_MS);
}
