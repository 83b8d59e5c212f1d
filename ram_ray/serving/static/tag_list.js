// Tags with their scores as bars, by kind; the mark in a bar is the tag's threshold.

import { h } from "./element.js";
import { judge, KINDS, state, verdictOf } from "./state.js";
import { language, t } from "./text.js";
import { groupByKind, percent, tagName } from "./tags.js";

const LARGE = 0.8; // scores from which a name is written larger

/** Return <div> with a heading and a list for each kind; `onPoint(tag or null)` shows boxes. */
export function tagGroups(picture, tags, options) {
  return h("div", { class: "groups" }, groupByKind(tags, KINDS).flatMap(([kind, members]) => [
    h("h3", {}, t(`kind_${kind}`)), tagList(picture, members, options)]));
}

/** Return <ul> of these tags of a picture. */
export function tagList(picture, tags, { placesOf = () => 0, onPoint = null } = {}) {
  return h("ul", { class: "tags" }, tags.map((tag) => tagRow(picture, tag, placesOf(tag), onPoint)));
}

function tagRow(picture, tag, places, onPoint) {
  const name = tagName(tag, language());
  const threshold = state.threshold === "own" ? tag.threshold : state.threshold;
  const score = percent(tag.score);
  const label = t("score_of", { tag: name, score, threshold: percent(threshold) });
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("i"), h("b"));
  bar.firstChild.style.inlineSize = `${tag.score * 100}%`;
  bar.lastChild.style.insetInlineStart = `${threshold * 100}%`;
  const second = language() === "zh" && tag.nameZh ? tag.name : tag.nameZh;
  const row = h("li", { class: tag.score >= LARGE ? "large" : false, title: label, "data-tag": tag.name },
    h("span", { class: "name" }, second ? [name, h("small", {}, second)] : name),
    bar,
    h("span", { class: "score" }, score),
    thumb(picture, tag, name, true),
    thumb(picture, tag, name, false),
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

function thumb(picture, tag, name, isThere) {
  return h("button", {
    type: "button", class: isThere ? "thumb right" : "thumb false", "data-thumb": `${tag.name} ${isThere}`,
    "aria-pressed": String(verdictOf(picture, tag) === isThere),
    "aria-label": t(isThere ? "thumb_up" : "thumb_down", { tag: name }),
    title: t(isThere ? "thumb_up" : "thumb_down", { tag: name }),
    onclick: () => judge(picture, tag, isThere),
  }, isThere ? "✓" : "✗");
}
