// A list of tags with their scores as bars; the mark in a bar is the tag's threshold.

import { h } from "./element.js";
import { state } from "./state.js";
import { language, t } from "./text.js";
import { tagName } from "./tags.js";

/** Return <ul> of these tags; `onPoint(tag or null)` makes them point at their boxes. */
export function tagList(tags, { placesOf = () => 0, onPoint = null } = {}) {
  return h("ul", { class: "tags" }, tags.map((tag) => tagRow(tag, placesOf(tag), onPoint)));
}

function tagRow(tag, places, onPoint) {
  const name = tagName(tag, language());
  const threshold = state.threshold === "own" ? tag.threshold : state.threshold;
  const score = tag.score.toFixed(2);
  const label = t("score_of", { tag: name, score, threshold: threshold.toFixed(2) });
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("i"), h("b"));
  bar.firstChild.style.inlineSize = `${tag.score * 100}%`;
  bar.lastChild.style.insetInlineStart = `${threshold * 100}%`;
  const second = language() === "zh" && tag.nameZh ? tag.name : tag.nameZh;
  const title = [name, second].filter(Boolean).join(" · ");
  const row = h("li", { class: `kind-${tag.kind}`, title: label, "data-tag": tag.name },
    h("span", { class: "name" }, title === name ? name : [name, h("small", {}, second)]),
    bar,
    h("span", { class: "score" }, score),
  );
  if (places > 0 && onPoint) {
    row.classList.add("placed");
    row.tabIndex = 0;
    row.title = `${label}. ${t("boxes_of", { count: places })}`;
    for (const event of ["pointerenter", "focus"]) row.addEventListener(event, () => onPoint(tag));
    for (const event of ["pointerleave", "blur"]) row.addEventListener(event, () => onPoint(null));
  }
  return row;
}
