// One picture: large, with its boxes, and all its tags beside it.

import { announce, byId, h, svg, toast } from "./element.js";
import { errorSentence, mayPass } from "./errors.js";
import { retry } from "./queue.js";
import { changed, DONE, FAILED, onChange, openPicture, RUNNING, state } from "./state.js";
import { language, t } from "./text.js";
import { tagGroups, tagList } from "./tag_list.js";
import { splitTags, tagName } from "./tags.js";

const MOST_WEAKER = 24;

let pictureShown = null;
let weakerOpen = false;

/** Wire the view; call once. */
export function setUpDetail() {
  onChange(draw);
}

/** Open the picture `step` places away; keeps the ends. */
export function openNeighbour(step) {
  const index = state.pictures.indexOf(openPicture());
  const next = state.pictures[index + step];
  if (index < 0 || !next) return;
  location.hash = `#picture-${next.id}`;
}

function draw() {
  const view = byId("detail");
  const picture = openPicture();
  view.hidden = picture === null;
  if (picture === null) {
    pictureShown = null;
    view.replaceChildren();
    return;
  }
  if (pictureShown !== picture) {
    pictureShown = picture;
    view.replaceChildren(frame(picture), h("div", { class: "side panel" }));
  }
  const { tag: focused, thumb } = document.activeElement?.dataset ?? {}; // the list is built anew
  view.querySelector(".side").replaceChildren(...side(picture).filter((part) => part !== null));
  view.querySelector(`[data-tag="${CSS.escape(focused ?? "")}"][tabindex]`)?.focus();
  if (thumb) view.querySelector(`[data-thumb="${CSS.escape(thumb)}"]`)?.focus();
  drawBoxes(view.querySelector("svg.boxes"), picture, null);
  view.querySelector(".frame").classList.toggle("working", picture.status === RUNNING);
}

function frame(picture) {
  const image = h("img", { src: picture.url, alt: picture.name, draggable: "false" });
  const missing = h("p", { class: "missing", hidden: true }, t("no_preview", { name: picture.name }));
  image.addEventListener("error", () => { image.hidden = true; missing.hidden = false; });
  const boxes = svg("svg", { class: "boxes", "aria-hidden": "true" });
  return h("figure", { class: "frame" },
    h("div", { class: "stage" }, image, boxes, missing),
    h("figcaption", {}, h("bdi", { class: "file" }, picture.name), credit(picture)));
}

function credit(picture) {
  return picture.credit ? h("small", {}, t("credit", picture.credit)) : null;
}

function side(picture) {
  const parts = [navigation(picture)];
  if (picture.status === FAILED) return [...parts, failure(picture)];
  if (picture.result === null) {
    return [...parts, h("p", { class: "soft" }, waitingSentence(picture)), skeleton()];
  }
  const { given, weaker } = splitTags(picture.result, state);
  const places = new Map();
  for (const { tagId } of picture.result.boxes) places.set(tagId, (places.get(tagId) ?? 0) + 1);
  const options = {
    placesOf: (tag) => places.get(tag.id) ?? 0,
    onPoint: (tag) => drawBoxes(document.querySelector("svg.boxes"), picture, tag),
  };
  if (state.captions && picture.result.caption) parts.push(h("blockquote", {}, picture.result.caption));
  parts.push(heading(given, weaker));
  if (given.length > 0) parts.push(tagGroups(picture, given, options));
  if (weaker.length > 0) parts.push(weakerTags(picture, given, weaker, options));
  for (const note of picture.result.notes) parts.push(h("p", { class: "hint" }, note));
  parts.push(actions(picture, given));
  return parts;
}

function navigation(picture) {
  if (state.pictures.length < 2) return null;
  const index = state.pictures.indexOf(picture);
  const arrow = (step, label, sign) => h("button", {
    type: "button", class: "arrow", "aria-label": t(label), onclick: () => openNeighbour(step),
    disabled: !state.pictures[index + step],
  }, sign);
  return h("div", { class: "neighbours" }, arrow(-1, "previous", "←"),
    h("span", {}, t("position", { index: index + 1, count: state.pictures.length })),
    arrow(1, "next", "→"));
}

function waitingSentence(picture) {
  if (picture.waitS) return t("busy", { seconds: Math.round(picture.waitS) });
  return t(picture.status === RUNNING ? "running" : "waiting");
}

function skeleton() {
  return h("div", { class: "skeleton", "aria-hidden": "true" }, [84, 62, 70, 48, 55].map((width) => {
    const line = h("i");
    line.style.inlineSize = `${width}%`;
    return line;
  }));
}

function failure(picture) {
  return h("div", { class: "failure", role: "alert" },
    h("p", {}, errorSentence(picture.error)),
    h("p", { class: "hint" }, h("code", {}, picture.error.code)),
    mayPass(picture.error) ? h("button", { type: "button", onclick: () => retry(picture) }, t("retry")) : null);
}

function heading(given, weaker) {
  const count = given.length === 1 ? t("tags_count_one") : t("tags_count", { count: given.length });
  const none = t(weaker.length > 0 ? "tags_none" : "tags_none_at_all");
  return h("h2", {}, given.length === 0 ? none : count);
}

function weakerTags(picture, given, weaker, options) {
  const asked = state.words.length > 0; // of words that were asked for every score is an answer
  const nothingGiven = given.length === 0 || asked;
  const label = asked ? t("weaker_asked") : nothingGiven ? t("weaker_best") : t("weaker", { count: weaker.length });
  return h("details", {
    class: "weaker", open: weakerOpen || nothingGiven,
    ontoggle: (event) => { if (!nothingGiven) weakerOpen = event.target.open; },
  }, h("summary", {}, label), tagList(picture, weaker.slice(0, asked ? undefined : nothingGiven ? 8 : MOST_WEAKER), options));
}

function actions(picture, given) {
  const copy = h("button", { type: "button", onclick: () => copyTags(given) }, t("copy"));
  copy.disabled = given.length === 0;
  const parts = [copy];
  if (picture.result.boxes.length > 0) {
    const toggle = () => { state.showBoxes = !state.showBoxes; changed(); };
    parts.push(h("button", {
      type: "button", class: "chip", "aria-pressed": String(state.showBoxes), onclick: toggle,
    }, t("boxes")));
  }
  return h("div", { class: "row" }, parts);
}

async function copyTags(tags) {
  try {
    await navigator.clipboard.writeText(tags.map((tag) => tagName(tag, language())).join(", "));
    toast(t("copied"));
  } catch {
    toast(t("copy_failed"));
  }
}

/** Draw the boxes of the given tags, or of the one that is pointed at. */
function drawBoxes(overlay, picture, pointed) {
  if (picture.status !== DONE) {
    overlay.replaceChildren();
    return;
  }
  const { boxes, tags, width, height } = picture.result;
  const given = new Map(splitTags(picture.result, state).given.map((tag) => [tag.id, tag]));
  const wanted = pointed
    ? boxes.filter((box) => box.tagId === pointed.id)
    : boxes.filter((box) => state.showBoxes && given.has(box.tagId));
  // boxes belong to the pixels as stored: then the picture is shown as stored too, not turned by EXIF
  overlay.parentElement.classList.toggle("as-stored", boxes.length > 0);
  overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const names = new Map(tags.map((tag) => [tag.id, tagName(tag, language())]));
  overlay.replaceChildren(...wanted.map((box) => boxMark(box, names.get(box.tagId), width, height)));
}

function boxMark(box, name, width, height) {
  const size = Math.max(width, height) / 36;
  const x = box.left * width;
  const y = box.top * height;
  const label = svg("text", { x: x + size / 3, y: Math.max(size, y + size * 1.1), "font-size": size });
  label.textContent = name ?? "";
  return svg("g", {}, svg("rect", {
    x, y, width: box.width * width, height: box.height * height, rx: size / 6,
    "vector-effect": "non-scaling-stroke",
  }), label);
}

/** Tell screen readers what was found. */
export function announceResult(picture) {
  if (picture.status === FAILED) announce(`${picture.name}: ${errorSentence(picture.error)}`);
  if (picture.status !== DONE) return;
  const names = splitTags(picture.result, state).given.map((tag) => tagName(tag, language()));
  announce(`${picture.name}: ${names.join(", ") || t("tags_none")}`);
}
