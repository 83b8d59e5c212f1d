// Many pictures: a grid of cards with their best tags, a filter, and the progress of the upload.

import { byId, h } from "./element.js";
import { errorSentence, mayPass } from "./errors.js";
import { retry } from "./queue.js";
import { changed, DONE, FAILED, keepPictures, onChange, openPicture, RUNNING, state } from "./state.js";
import { language, t } from "./text.js";
import { frequentTags, inOrder, passesFilter, percent, splitTags, tagName } from "./tags.js";

const TAGS_ON_CARD = 5;
const FREQUENT = 14;

const cards = new Map(); // picture id -> its card, drawn anew only when what it shows has changed

/** Wire the view; call once. */
export function setUpBatch() {
  byId("filter").addEventListener("input", (event) => {
    state.filter = { text: event.target.value, tag: null, failed: false };
    changed();
  });
  byId("sort").addEventListener("change", (event) => {
    state.sort = event.target.value;
    changed();
  });
  const select = (pictures) => { state.selected = new Set(pictures.map(({ id }) => id)); changed(); };
  byId("selection-all").addEventListener("click", () => select(filteredPictures()));
  byId("selection-none").addEventListener("click", () => select([]));
  byId("selection-remove").addEventListener("click", () => keepPictures(({ id }) => !state.selected.has(id)));
  onChange(draw);
}

/** Return the pictures that the filter lets through, in order. */
export function filteredPictures() {
  return inOrder(state.pictures.filter((picture) => passesFilter(picture, state)), state);
}

function draw() {
  const visible = openPicture() === null && state.pictures.length > 0;
  byId("batch").hidden = !visible;
  if (!visible) return;
  const ordered = filteredPictures();
  const shown = new Set(ordered);
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
  const wanted = ordered.map((picture) => cards.get(picture.id).element);
  const visibleNow = [...list.children].filter((element) => !element.hidden);
  if (wanted.some((element, at) => element !== visibleNow[at])) list.append(...wanted);
  byId("sort").value = state.sort;
  byId("selection").hidden = state.selected.size === 0;
  byId("selection-count").textContent = t("selected", { count: state.selected.size });
  byId("nothing").hidden = shown.size > 0;
  if (byId("filter").value !== state.filter.text) byId("filter").value = state.filter.text;
  drawFrequent();
}

function makeCard(picture, list) {
  const image = h("div", { class: "picture" });
  const body = h("div", { class: "facts" });
  const link = h("a", { href: `#picture-${picture.id}`, id: `card-${picture.id}` }, image, h("h3", {}, h("bdi", {}, picture.name)));
  const box = h("input", {
    type: "checkbox", "aria-label": picture.name,
    onchange: () => { toggleSelected(picture); },
  });
  const element = h("li", { class: "card" }, link, h("label", { class: "select" }, box), body);
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
    box.checked = state.selected.has(picture.id);
    element.classList.toggle("selected", box.checked);
    const caption = state.captions ? picture.result?.caption : null;
    const asked = state.words.length > 0;
    const now = [language(), picture.status, picture.waitS, given.length, weaker.length, state.filter.tag,
      caption, asked, ...names].join();
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
  const caption = state.captions && picture.result.caption
    ? [h("p", { class: "caption" }, picture.result.caption)] : [];
  // of words that were asked for, every score is an answer
  if (state.words.length > 0) {
    return [...caption, h("ul", {}, [...given, ...weaker].slice(0, TAGS_ON_CARD)
      .map((tag) => smallTag(tag, given.includes(tag) ? "hit" : "low")))];
  }
  if (given.length === 0) {
    const guess = weaker.length > 0 ? ` ${tagName(weaker[0], language())}?` : "";
    return [...caption, h("p", { class: "soft" }, t("tags_none"), h("i", {}, guess))];
  }
  const hit = given.filter((tag) => tag.name === state.filter.tag);
  const best = [...new Set([...hit, ...given])].slice(0, TAGS_ON_CARD);
  const more = given.length - best.length;
  return [...caption, h("ul", {}, best.map((tag) => smallTag(tag, hit.includes(tag) && "hit")),
    more > 0 ? h("li", { class: "more" }, `+${more}`) : null)];
}

function smallTag(tag, look) {
  const item = h("li", { class: look }, h("span", {}, tagName(tag, language())), h("b", {}, percent(tag.score)));
  item.style.setProperty("--score", `${tag.score * 100}%`);
  return item;
}

function drawFrequent() {
  const frequent = frequentTags(state.pictures, state, FREQUENT);
  const box = byId("frequent");
  const failed = state.pictures.filter((picture) => picture.status === FAILED).length;
  const now = JSON.stringify([language(), state.filter, failed, frequent.map(({ tag, count }) => [tag.name, count])]);
  if (box.dataset.now === now) return;
  box.dataset.now = now;
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.name : null;
  box.replaceChildren(...failedChip(failed), ...frequent.map(({ tag, count }) => h("li", {}, h("button", {
    type: "button", class: "chip", "data-name": tag.name,
    "aria-pressed": String(state.filter.tag === tag.name),
    onclick: () => filterByTag(tag.name),
  }, tagName(tag, language()), h("span", {}, String(count))))));
  if (focused) box.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus();
}

function failedChip(count) {
  if (count === 0) return [];
  return [h("li", {}, h("button", {
    type: "button", class: "chip failures", "data-name": "", "aria-pressed": String(state.filter.failed),
    onclick: () => {
      state.filter = { text: "", tag: null, failed: !state.filter.failed };
      changed();
    },
  }, t("failures"), h("span", {}, String(count))))];
}

function toggleSelected(picture) {
  if (!state.selected.delete(picture.id)) state.selected.add(picture.id);
  changed();
}

function filterByTag(name) {
  state.filter = { text: "", tag: state.filter.tag === name ? null : name, failed: false };
  changed();
}

function extension(name) {
  return (/\.([a-z0-9]{1,5})$/i.exec(name)?.[1] ?? "?").toUpperCase();
}
