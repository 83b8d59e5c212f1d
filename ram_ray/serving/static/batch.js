// Many pictures: a grid of cards with their best tags, a filter, and the progress of the upload.

import { byId, h } from "./element.js";
import { errorSentence, mayPass } from "./errors.js";
import { retry } from "./queue.js";
import { changed, DONE, FAILED, onChange, openPicture, RUNNING, state } from "./state.js";
import { language, t } from "./text.js";
import { frequentTags, passesFilter, splitTags, tagName } from "./tags.js";

const TAGS_ON_CARD = 5;
const FREQUENT = 14;

const cards = new Map(); // picture id -> its card, drawn anew only when what it shows has changed

/** Wire the view; call once. */
export function setUpBatch() {
  byId("filter").addEventListener("input", (event) => {
    state.filter = { text: event.target.value, tag: null };
    changed();
  });
  onChange(draw);
}

/** Return the pictures that the filter lets through, in order. */
export function filteredPictures() {
  return state.pictures.filter((picture) => passesFilter(picture, state));
}

function draw() {
  const visible = openPicture() === null && state.pictures.length > 0;
  byId("batch").hidden = !visible;
  if (!visible) return;
  const shown = new Set(filteredPictures());
  const list = byId("cards");
  for (const [id, card] of cards) {
    if (!state.pictures.some((picture) => picture.id === id)) {
      card.element.remove();
      cards.delete(id);
    }
  }
  for (const picture of state.pictures) {
    const card = cards.get(picture.id) ?? makeCard(picture, list);
    card.element.hidden = !shown.has(picture);
    if (shown.has(picture)) card.update();
  }
  byId("nothing").hidden = shown.size > 0;
  if (byId("filter").value !== state.filter.text) byId("filter").value = state.filter.text;
  drawFrequent();
}

function makeCard(picture, list) {
  const image = h("div", { class: "picture" });
  const body = h("div", { class: "facts" });
  const link = h("a", { href: `#picture-${picture.id}`, id: `card-${picture.id}` }, image, h("h3", {}, picture.name));
  const element = h("li", { class: "card" }, link, body);
  list.append(element);
  let imageShown = null;
  let bodyShown = null;
  const update = () => {
    const source = picture.thumbnailUrl ?? picture.status;
    if (imageShown !== source) {
      imageShown = source;
      image.replaceChildren(picture.thumbnailUrl
        ? h("img", { src: picture.thumbnailUrl, alt: "", loading: "lazy", draggable: "false" })
        : h("span", {}, extension(picture.name)));
    }
    const { given, weaker } = splitTags(picture.result, state);
    const names = given.slice(0, TAGS_ON_CARD).map((tag) => `${tagName(tag, language())}${tag.score}`);
    const now = [language(), picture.status, picture.waitS, given.length, weaker.length, state.filter.tag, ...names].join();
    if (bodyShown !== now) {
      bodyShown = now;
      element.classList.toggle("working", picture.status === RUNNING);
      body.replaceChildren(...facts(picture, given, weaker));
    }
  };
  cards.set(picture.id, { element, update });
  return cards.get(picture.id);
}

function facts(picture, given, weaker) {
  if (picture.status === FAILED) {
    const again = { type: "button", class: "quiet", onclick: () => retry(picture) };
    return [h("p", { class: "failed" }, errorSentence(picture.error)),
      ...(mayPass(picture.error) ? [h("button", again, t("retry"))] : [])];
  }
  if (picture.status !== DONE) {
    return [h("p", { class: "soft" }, picture.waitS
      ? t("busy", { seconds: Math.round(picture.waitS) })
      : t(picture.status === RUNNING ? "running" : "waiting"))];
  }
  if (given.length === 0) {
    const guess = weaker.length > 0 ? ` ${tagName(weaker[0], language())}?` : "";
    return [h("p", { class: "soft" }, t("tags_none"), h("i", {}, guess))];
  }
  const hit = given.filter((tag) => tag.name === state.filter.tag);
  const best = [...new Set([...hit, ...given])].slice(0, TAGS_ON_CARD);
  const more = given.length - best.length;
  return [h("ul", {}, best.map((tag) => smallTag(tag, hit.includes(tag))),
    more > 0 ? h("li", { class: "more" }, `+${more}`) : null)];
}

function smallTag(tag, isHit) {
  const item = h("li", { class: isHit ? "hit" : false }, h("span", {}, tagName(tag, language())),
    h("b", {}, tag.score.toFixed(2)));
  item.style.setProperty("--score", `${tag.score * 100}%`);
  return item;
}

function drawFrequent() {
  const frequent = frequentTags(state.pictures, state, FREQUENT);
  const box = byId("frequent");
  const now = JSON.stringify([language(), state.filter.tag, frequent.map(({ tag, count }) => [tag.name, count])]);
  if (box.dataset.now === now) return;
  box.dataset.now = now;
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.name : null;
  box.replaceChildren(...frequent.map(({ tag, count }) => h("li", {}, h("button", {
    type: "button", class: "chip", "data-name": tag.name,
    "aria-pressed": String(state.filter.tag === tag.name),
    onclick: () => filterByTag(tag.name),
  }, tagName(tag, language()), h("span", {}, String(count))))));
  if (focused) box.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus();
}

function filterByTag(name) {
  state.filter = { text: "", tag: state.filter.tag === name ? null : name };
  changed();
}

function extension(name) {
  return (/\.([a-z0-9]{1,5})$/i.exec(name)?.[1] ?? "?").toUpperCase();
}
