// Sends waiting pictures to the server, a few at a time, in order.

import { ApiError, tagPicture } from "./api.js";
import { errorSentence } from "./errors.js";
import { makeThumbnail } from "./pictures.js";
import { changed, currentModel, DONE, FAILED, keepPictures, RUNNING, state, WAITING } from "./state.js";
import { t } from "./text.js";

const IN_FLIGHT = 4; // enough to fill the server's batches, polite to others

const WORDS_REFUSED = new Set(["unknown_tags", "unsupported_option"]);

let running = 0;
let acceptedWords = [];
let stop = new AbortController();
let onKeyNeeded = () => {};

/** Set what to do when the server wants an API key. */
export function whenKeyIsNeeded(callback) {
  onKeyNeeded = callback;
}

/** Send what waits; returns at once. */
export function run() {
  while (running < IN_FLIGHT) {
    const picture = state.pictures.find((each) => each.status === WAITING);
    if (!picture || !state.model) return;
    running += 1;
    picture.status = RUNNING;
    tagOne(picture, stop.signal).finally(() => {
      running -= 1;
      run();
    });
  }
}

/** Stop: what is not done yet is forgotten. */
export function cancel() {
  stop.abort();
  stop = new AbortController();
  keepPictures((each) => [DONE, FAILED].includes(each.status));
}

/** Ask again for every picture, because the model or the words have changed. */
export function runAgain() {
  stop.abort();
  stop = new AbortController();
  for (const picture of state.pictures) picture.status = WAITING;
  changed();
  run();
}

/** Ask again for one picture that failed. */
export function retry(picture) {
  picture.status = WAITING;
  changed();
  run();
}

async function tagOne(picture, signal) {
  const model = currentModel();
  const options = {
    model: state.model, words: state.words,
    caption: state.captions && (model?.caption ?? false), boxes: model?.boxes ?? false,
  };
  const drawn = picture.thumbnailUrl ? null : makeThumbnail(picture);
  try {
    if (picture.blob.size > state.maxImageBytes) {
      throw new ApiError("too_large", "The file is larger than this server takes.");
    }
    const onWait = (seconds) => { picture.waitS = seconds; changed(); };
    const result = await tagPicture(picture.blob, picture.name, options, { signal, onWait });
    if (signal.aborted) return;
    acceptedWords = options.words;
    Object.assign(picture, { status: DONE, result, error: null });
  } catch (error) {
    if (signal.aborted) return; // a newer question is on its way
    if (!(error instanceof ApiError)) console.error(error);
    if (WORDS_REFUSED.has(error.code) && options.words.length > 0) {
      takeWordsBack(error);
      return;
    }
    const known = error instanceof ApiError ? error : new ApiError("page_error", String(error));
    Object.assign(picture, { status: FAILED, result: null, error: known });
    if (known.status === 401) onKeyNeeded();
  }
  delete picture.waitS;
  await drawn;
  changed();
}

/** The model cannot look for these words: say it once, and keep what was there before. */
function takeWordsBack(error) {
  stop.abort();
  stop = new AbortController();
  state.words = acceptedWords;
  const unknown = error.details.map(({ message }) => /^unknown: (.+)$/s.exec(message)?.[1]).filter(Boolean);
  state.wordsError = unknown.length > 0
    ? t("words_unknown", { words: unknown.join(", ") }) : errorSentence(error);
  for (const each of state.pictures) each.status = each.result ? DONE : WAITING;
  changed();
  run();
}
