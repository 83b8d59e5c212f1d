// What the page knows: the pictures of this visit and the choices of the visitor.
// Views draw from it and are called again after a change; nothing else holds state.

/** Scores are asked for down to here, once; every threshold above needs no further request. */
export const SCORE_FLOOR = 0.1;
export const KINDS = ["object", "scene", "attribute", "action", "other"];

export const state = {
  /** {id, name, blob, credit, thumbnailUrl, url, status, result, error}; status: see below. */
  pictures: [],
  /** "own": every tag's own threshold. A number: one for all tags. */
  threshold: "own",
  /** Kinds shown; empty: all. */
  kinds: new Set(),
  /** The visitor's own words; empty: the model's vocabulary. */
  words: [],
  /** Why the server refused the last words; null: it did not. */
  wordsError: null,
  /** Filter of the batch view: {text, tag}. */
  filter: { text: "", tag: null, failed: false },
  /** Order of the batch view: "added", "name" or "score". */
  sort: "added",
  /** Ids of the pictures that are selected; downloads hold these alone. */
  selected: new Set(),
  /** What the visitor says of tags: picture id -> tag name -> true (it is there) or false. */
  verdicts: new Map(),
  /** Id of the picture that is open; null: the batch view. */
  openId: null,
  /** {id, numTags, openSet, caption, boxes, chinese, isDefault, notes}, as the server has them. */
  models: [],
  /** Id of the chosen model; null before the server has answered. */
  model: null,
  maxImageBytes: Infinity,
  showBoxes: true,
  /** Whether captions are asked for and shown; writing one takes a model longer than tagging. */
  captions: false,
};

/** A picture waits, is running, is done, or has failed. */
export const WAITING = "waiting";
export const RUNNING = "running";
export const DONE = "done";
export const FAILED = "failed";

const views = [];
let scheduled = false;

/** Call `draw` after every change, at most once a frame. */
export function onChange(draw) {
  views.push(draw);
}

/** Tell the views that the state has changed. */
export function changed() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    for (const draw of views) draw();
  });
}

/** Return the picture that is open, or null. */
export function openPicture() {
  return state.pictures.find((picture) => picture.id === state.openId) ?? null;
}

/** Return the chosen model as the server described it, or null before it answered. */
export function currentModel() {
  return state.models.find((model) => model.id === state.model) ?? null;
}

/** Forget the other pictures and free their memory; a single one that stays is open. */
export function keepPictures(isKept) {
  for (const picture of state.pictures.filter((each) => !isKept(each))) {
    for (const url of [picture.url, picture.thumbnailUrl]) if (url) URL.revokeObjectURL(url);
  }
  state.pictures = state.pictures.filter(isKept);
  const [first, second] = state.pictures;
  state.openId = first && !second ? first.id : openPicture()?.id ?? null;
  const kept = new Set(state.pictures.map((picture) => picture.id));
  for (const id of state.selected) if (!kept.has(id)) state.selected.delete(id);
  for (const id of state.verdicts.keys()) if (!kept.has(id)) state.verdicts.delete(id);
  if (!first) startAfresh();
  changed();
}

/** Take back every choice of the visitor but model, language and colours. */
function startAfresh() {
  Object.assign(state, {
    threshold: "own", kinds: new Set(), words: [], wordsError: null, captions: false, sort: "added",
    filter: { text: "", tag: null, failed: false },
  });
}

/** Say that a tag is there (true) or not (false) in a picture; the same again takes it back. */
export function judge(picture, tag, isThere) {
  const said = state.verdicts.get(picture.id) ?? new Map();
  if (said.get(tag.name) === isThere) said.delete(tag.name);
  else said.set(tag.name, isThere);
  if (said.size > 0) state.verdicts.set(picture.id, said);
  else state.verdicts.delete(picture.id);
  changed();
}

/** Return what was said of a tag of a picture: true, false, or undefined. */
export function verdictOf(picture, tag) {
  return state.verdicts.get(picture.id)?.get(tag.name);
}
