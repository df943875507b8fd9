// The REST API: addresses, requests, and errors in one shape. It keeps nothing.

const ROOT = "/api/v1";
const NETWORK_PROBLEM = "smtpproxy cannot be reached; it may have been stopped.";

/** What the server says is wrong. `status` is 0 where it could not be reached. */
export class ApiError extends Error {
  constructor(status, { code, text, column }) {
    super(text);
    this.status = status;
    this.code = code;
    this.column = column ?? null;
  }
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(ROOT + path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { code: "unreachable", text: NETWORK_PROBLEM });
  }
  if (response.status === 401) location.assign("/login");
  if (!response.ok) {
    const body = await response.json().catch(() => null);
    throw new ApiError(response.status, body?.error ?? { code: "http", text: `The server answered ${response.status}.` });
  }
  return response;
}

async function json(path, signal) {
  return (await request(path, { signal })).json();
}

function query(fields) {
  const given = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

const sessionPath = (id) => `/sessions/${encodeURIComponent(id)}`;
const messagePath = (id, message) => `${sessionPath(id)}/messages/${message}`;

export const getState = (signal) => json("/state", signal);

/** {sessions, cursor}, newest first. */
export const listSessions = ({ filter, limit, cursor, signal }) =>
  json(`/sessions${query({ filter, limit, cursor })}`, signal);

export const getSession = (id, signal) => json(sessionPath(id), signal);

/** {events, next}; `content` is "none" (octets counted) or "full". */
export const listEvents = (id, { afterN = -1, limit = 500, content = "none", signal }) =>
  json(`${sessionPath(id)}/events${query({ after_n: afterN, limit, content })}`, signal);

export const listMessages = async (id, signal) => (await json(`${sessionPath(id)}/messages`, signal)).messages;

export const getMessage = (id, message, signal) => json(messagePath(id, message), signal);

/** The message's octets as text, at most `limit` characters, and whether there is more. */
export async function getSource(id, message, limit, signal) {
  const response = await request(`${messagePath(id, message)}/source`, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (text.length <= limit) {
    const { value, done } = await reader.read();
    if (done) return { text, hasMore: false };
    text += value;
  }
  reader.cancel();
  return { text: text.slice(0, limit), hasMore: true };
}

export const deleteSession = (id) => request(sessionPath(id), { method: "DELETE" });

/** How many sessions were deleted; `filter` "*" means every one that has ended. */
export const deleteSessions = async (filter) =>
  (await (await request(`/sessions${query({ filter })}`, { method: "DELETE" })).json()).deleted;

export const urls = {
  transcript: (id) => `${ROOT}${sessionPath(id)}/transcript`,
  recording: (id) => `${ROOT}${sessionPath(id)}/recording`,
  raw: (id, message) => `${ROOT}${messagePath(id, message)}/raw`,
  source: (id, message) => `${ROOT}${messagePath(id, message)}/source`,
  html: (id, message) => `${ROOT}${messagePath(id, message)}/html`,
  part: (id, message, path) => `${ROOT}${messagePath(id, message)}/parts/${encodeURIComponent(path)}`,
  ca: `${ROOT}/ca.pem`,
  openapi: `${ROOT}/openapi.json`,
};
