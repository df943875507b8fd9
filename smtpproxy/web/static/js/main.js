// Wires the page together: address, list, session, live events, keys. Everything else is in the other modules.

import * as api from "./api.js";
import { Banners } from "./banners.js";
import { confirmDeletion, showHelp } from "./dialogs.js";
import { byId, fill, h } from "./dom.js";
import { count } from "./format.js";
import { listenToKeys } from "./keys.js";
import { List } from "./list.js";
import { Live } from "./live.js";
import { go, readPlace } from "./route.js";
import { Search } from "./search.js";
import { SessionPane } from "./session.js";
import { Store } from "./store.js";
import { Subjects } from "./subjects.js";
import { welcome } from "./welcome.js";

const STATE_PAUSE_MS = 5000;
const NEWS_PAUSE_MS = 2000;
const RETRY_MS = 2000;
const LOST_AFTER_MS = 400; // a shorter interruption is not worth a word

const banners = new Banners();
const store = new Store();
const subjects = new Subjects(() => list.draw());
const list = new List(store, subjects);
const pane = new SessionPane(deleteOne);
const search = new Search((filter) => go({ ...readPlace(), filter }, { replace: true }));

let place = readPlace();
let live = null;
let log = null;
let state = null;
let lostTimer = 0;
let attempts = 0;

// ---- what is shown

function show() {
  const before = place;
  place = readPlace();
  search.set(place.filter);
  document.body.classList.toggle("has-session", place.session !== "");
  if (place.session) {
    pane.show(place);
  } else {
    pane.clear();
    drawWelcome();
  }
  markOpen();
  if (place.filter !== before.filter) start();
  list.draw();
}

function markOpen() {
  list.open = place.session ? pane.id || place.session : null;
  if (list.open) list.cursor = list.open;
  list.draw();
}

function drawWelcome() {
  const isEmpty = store.isReady && !store.sessions.length && !place.filter;
  document.body.classList.toggle("is-empty", isEmpty);
  if (place.session || !state) return;
  const key = JSON.stringify([state.routes, isEmpty]);
  const main = byId("main");
  if (main.dataset.welcome === key && main.hasChildNodes()) return;
  main.dataset.welcome = key;
  fill(main, welcome(state, isEmpty));
}

// ---- data

/** Reads the list for the filter of the address, then goes on live. */
async function start() {
  const { filter } = place;
  const attempt = (attempts += 1);
  try {
    // Until the new list is there, the old one stays and goes on: a filter with a mistake takes nothing away.
    const newest = await store.start(filter);
    if (newest === null) return;
    live?.close();
    live = new Live({ after: newest, filter, on: { state: onLiveState, hello: onHello, events: (events) => store.take(events), removed: start } });
  } catch (error) {
    if (error.code !== "bad-filter") setTimeout(() => attempt === attempts && start(), RETRY_MS);
    else if (!live) onLiveState("paused");
  }
}

function onLiveState(now) {
  const words = { connecting: "connecting", live: "live", waiting: "reconnecting", paused: "paused" };
  byId("live").className = `live is-${now}`;
  byId("live-text").textContent = words[now];
  clearTimeout(lostTimer);
  if (now === "live") {
    banners.set("connection", "");
    pane.retry();
    refreshState();
  } else if (now !== "paused") {
    lostTimer = setTimeout(() => banners.set("connection", "The connection to smtpproxy is lost; reconnecting. What happens meanwhile will be shown then."), LOST_AFTER_MS);
  }
}

/** Positions mean something within one log alone: before another one everything is read anew. */
function onHello(hello) {
  const isOther = log !== null && hello.log !== log;
  log = hello.log;
  if (isOther) start();
}

async function refreshState() {
  try {
    state = await api.getState();
  } catch {
    return; // the connection's banner says so
  }
  banners.showRecording(state.recording);
  drawWelcome();
  fill(
    byId("bottom"),
    h("span", {}, `smtpproxy ${state.version}`),
    state.routes.map(({ listen, upstream }) => h("span", { class: "route" }, h("code", {}, listen), " → ", h("code", {}, upstream))),
    h("span", {}, state.store ? `recording ${state.recording.state}` : "recording off"),
    h("span", {}, `${count(state.sessions_open, "session")} open`),
  );
}

// ---- what the user asks for

async function deleteOne(id) {
  if (!(await confirmDeletion("Delete this session?", "Its conversation and its messages are removed from the log for good."))) return;
  const next = list.neighbour(id);
  if (await tried(() => api.deleteSession(id))) {
    store.remove(id);
    go({ ...place, session: next, tab: "conversation" }, { replace: true });
  }
}

async function deleteAll() {
  const what = place.filter ? "all sessions that match the filter" : "all sessions";
  if (!(await confirmDeletion(`Delete ${what}?`, "They are removed from the log for good. Those that are still open stay."))) return;
  if (await tried(() => api.deleteSessions(place.filter || "*"))) {
    go({ filter: place.filter });
    start();
  }
}

async function tried(request) {
  try {
    await request();
    banners.set("request", "");
    return true;
  } catch (error) {
    banners.set("request", error.message, "error");
    return false;
  }
}

function move(by) {
  const id = list.move(by);
  // Beside an open session the next one is opened at once; in the list alone Enter opens it.
  if (id && place.session) go({ session: id, tab: place.tab, filter: place.filter }, { replace: true });
}

function openCursor() {
  if (list.cursor) go({ session: list.cursor, filter: place.filter });
}

function openTab(tab) {
  if (place.session) go({ ...place, tab, message: 1, view: "" });
}

function escape() {
  if (document.activeElement === byId("filter")) {
    if (!search.clear()) byId("filter").blur();
  } else if (place.session) {
    go({ filter: place.filter });
    list.move(0);
  } else {
    search.clear();
  }
}

function help() {
  showHelp((filter) => go({ filter }));
}

// ---- news for screen readers, now and then

let newsTimer = 0;
let arrivals = 0;

function onArrival({ detail }) {
  arrivals += 1;
  newsTimer ||= setTimeout(() => {
    byId("news").textContent = arrivals === 1 ? `New session from ${detail.mail_from || detail.client}` : `${count(arrivals, "new session")}`;
    newsTimer = arrivals = 0;
  }, NEWS_PAUSE_MS);
}

store.addEventListener("arrival", onArrival);
store.addEventListener("change", drawWelcome);
store.addEventListener("problem", ({ detail }) => {
  search.showProblem(detail);
  const isOther = detail && detail.code !== "bad-filter" && detail.status !== 0;
  banners.set("request", isOther ? detail.message : "", "error");
  if (detail?.status === 0) onLiveState("waiting");
});
addEventListener("hashchange", show);
addEventListener("session-shown", markOpen);
byId("help").addEventListener("click", help);
byId("delete-all").addEventListener("click", deleteAll);
listenToKeys({
  j: () => move(1),
  k: () => move(-1),
  Enter: openCursor,
  1: () => openTab("conversation"),
  2: () => openTab("timing"),
  3: () => openTab("message"),
  "/": () => search.focus(),
  "?": help,
  Escape: escape,
});
setInterval(() => document.hidden || refreshState(), STATE_PAUSE_MS);

refreshState();
show();
start();
