// Error codes as plain sentences. A code that is not here is shown with the server's own sentence.

import { language } from "./text.js";

export const ERRORS = {
  en: {
    // ImageErrorCode of ram_ray.errors: what is wrong with one picture
    not_found: "The picture is not there any more.",
    access_denied: "The server may not read this picture.",
    fetch_timeout: "Reading the picture took too long.",
    fetch_failed: "The picture could not be read.",
    changed: "The picture was replaced while it was being read.",
    empty: "The file is empty.",
    not_an_image: "This is not a picture.",
    unsupported_format: "This kind of picture cannot be read here. Save it as JPEG, PNG or WebP.",
    truncated: "The file ends in the middle of the picture; it was probably cut off on its way.",
    corrupt: "The file is damaged.",
    too_large: "The picture is too large for this server.",
    decode_timeout: "Opening the picture took too long.",
    decode_crash: "The picture breaks the decoder; it is probably damaged.",
    model_error: "The model failed on this picture.",
    // RequestErrorCode of ram_ray.serving.api, where a person can be told more than the server's words
    body_too_large: "The file is larger than this server takes.",
    request_timeout: "Sending the picture took too long.",
    unauthorized: "This server asks for an API key.",
    forbidden_origin: "The server does not take requests from this address of the page.",
    rate_limited: "That were many pictures at once; try again in a while.",
    overloaded: "The server is busy; try again in a while.",
    not_ready: "The model is not ready yet; try again in a while.",
    deadline_exceeded: "The server did not get to it in time; try again.",
    unknown_tags: "The model does not know some of these words.",
    unsupported_option: "This model cannot do that.",
    unknown_model: "The server has no such model.",
    invalid_request: "The server does not take this as it is.",
    location_not_allowed: "This server does not allow that place.",
    conflict: "Another job is writing there; choose another place for the results.",
    jobs_disabled: "Jobs are switched off on this server.",
    jobs_unavailable: "The cluster's job server does not answer.",
    internal: "The server has a fault; its log says more.",
    unexpected_answer: "The answer did not come from the server; something in between may have sent it.",
    // the page's own
    server_unreachable: "The server cannot be reached.",
    page_error: "The page itself failed.",
  },
  zh: {
    not_found: "图片已不存在。",
    access_denied: "服务器无权读取该图片。",
    fetch_timeout: "读取图片超时。",
    fetch_failed: "无法读取图片。",
    changed: "图片在读取期间被替换。",
    empty: "文件是空的。",
    not_an_image: "这不是图片。",
    unsupported_format: "无法读取此类图片。请另存为 JPEG、PNG 或 WebP。",
    truncated: "文件在图片中途结束，可能传输时被截断。",
    corrupt: "文件已损坏。",
    too_large: "图片超过服务器的大小限制。",
    decode_timeout: "打开图片超时。",
    decode_crash: "图片使解码器崩溃，可能已损坏。",
    model_error: "模型处理该图片时出错。",
    body_too_large: "文件超过服务器的大小限制。",
    request_timeout: "发送图片超时。",
    unauthorized: "该服务器需要 API 密钥。",
    forbidden_origin: "服务器不接受来自此页面地址的请求。",
    rate_limited: "一次发送的图片过多，请稍后再试。",
    overloaded: "服务器繁忙，请稍后再试。",
    not_ready: "模型尚未就绪，请稍后再试。",
    deadline_exceeded: "服务器未能及时处理，请重试。",
    unknown_tags: "模型不认识其中的一些词语。",
    unsupported_option: "该模型不支持此功能。",
    unknown_model: "服务器没有这个模型。",
    invalid_request: "服务器不接受这样的请求。",
    location_not_allowed: "该服务器不允许使用此位置。",
    conflict: "另一个任务正在写入该位置，请另选结果位置。",
    jobs_disabled: "该服务器未启用任务。",
    jobs_unavailable: "集群的任务服务没有响应。",
    internal: "服务器内部错误，详情见其日志。",
    unexpected_answer: "响应并非来自服务器，可能来自中间代理。",
    server_unreachable: "无法连接服务器。",
    page_error: "页面出错。",
  },
};

const LASTING = new Set(["empty", "not_an_image", "unsupported_format", "truncated", "corrupt",
  "too_large", "body_too_large"]);

/** Tell whether the same picture may do better another time. */
export function mayPass(error) {
  return !LASTING.has(error.code);
}

/** Return what went wrong in one sentence for a person. */
export function errorSentence(error) {
  return ERRORS[language()][error.code] ?? error.message;
}
