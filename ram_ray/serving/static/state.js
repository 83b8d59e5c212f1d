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
  filter: { text: "", tag: null },
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
  if (!first) state.filter = { text: "", tag: null };
  changed();
}
