"use strict";
// The pages work without this. It renews the status, tries again what can't be had at present, and adds changes as
// they come. All text of others goes through `visible` and is set as text, never as markup.

const SECONDS = 5;
const LONGEST = 300;

function visible(text) {
  const short = text.length > LONGEST ? `${text.slice(0, LONGEST)}… (${text.length.toLocaleString("en")} characters)` : text;
  return short.replace(/(?!\u200d)[\p{C}\p{Zl}\p{Zp}]/gu, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function away(text) {
  const place = document.getElementById("away");
  if (place.textContent !== text) place.textContent = text;
  place.hidden = !text;
}

async function renew(part) {
  let answer;
  try {
    answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  } catch {
    away("The server of this page does not answer; it is asked again every five seconds.");
    return;
  }
  away(answer.ok ? "" : `The server answers ${answer.status}; it is asked again every five seconds.`);
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const next = page.querySelector(`[data-live="${part.dataset.live}"]`);
  // What somebody has the focus in is left alone.
  if (next && !part.contains(document.activeElement)) part.replaceChildren(...next.childNodes);
}

function changeItem(id, change) {
  const item = element("li");
  item.dataset.id = id;
  const head = element("p");
  const link = element("a");
  link.href = `/profile?${new URLSearchParams({ user: change.user_id, group: change.group_slug })}`;
  link.append(`${change.user_id} in `, element("bdi", visible(change.group_slug)));
  const end = change.snapshot_hash ? "" : ": the profile is gone";
  head.append(link, " ", element("span", visible(`${change.time.slice(0, 19).replace("T", " ")}, by ${change.cause}${end}`), "dim"));
  item.append(head);
  if (change.fields === null) {
    item.append(element("p", "What it changed is not known: it is the first announcement of this profile that is kept.", "dim"));
    return item;
  }
  const fields = element("ul", undefined, "fields");
  for (const { field, before, after } of change.fields.slice(0, 40)) {
    const line = element("li");
    line.append(element("bdi", visible(field)), ": ");
    if (before !== null) line.append(element("del", visible(before)), " → ");
    line.append(after === null ? "gone" : element("ins", visible(after)));
    fields.append(line);
  }
  item.append(fields);
  return item;
}

function follow(list) {
  const state = document.getElementById("live");
  const pause = document.getElementById("pause");
  const waiting = [];
  let paused = false;
  const say = (text) => { state.textContent = text; };
  const add = (event) => {
    document.getElementById("none")?.remove();
    if ([...list.children].some((one) => one.dataset.id === event.lastEventId)) return;
    list.prepend(changeItem(event.lastEventId, JSON.parse(event.data)));
    while (list.children.length > Number(list.dataset.most)) list.lastElementChild.remove();
  };
  const source = new EventSource(`/api/changes?${new URLSearchParams({ after: list.dataset.after })}`);
  source.addEventListener("open", () => say(paused ? "Paused." : "Following."));
  source.addEventListener("error", () => say("Not connected; it is tried again."));
  source.addEventListener("gap", () => say("Following; some changes in between are no longer kept here."));
  source.addEventListener("change", (event) => {
    if (!paused) return add(event);
    waiting.push(event);
    if (waiting.length > Number(list.dataset.most)) waiting.shift();
    say(`Paused; ${waiting.length} new.`);
  });
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    waiting.splice(0).forEach(add);
    say(paused ? "Paused." : "Following.");
  });
}

document.querySelectorAll("[data-live]").forEach((part) => setInterval(() => {
  if (!document.hidden) renew(part);
}, SECONDS * 1000));
if (document.querySelector("[data-again]")) setTimeout(() => location.reload(), SECONDS * 1000);
const list = document.getElementById("changes");
if (list) follow(list);
