// Numbers and times as people read them. It knows nothing of what they measure.

const NUMBER = new Intl.NumberFormat("en-US");
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/** 1234567 → "1,234,567". */
export function number(value) {
  return NUMBER.format(value);
}

/** (1, "message") → "1 message"; (2, "message") → "2 messages". */
export function count(value, what) {
  return `${number(value)} ${what}${value === 1 ? "" : "s"}`;
}

/** Octets → "812 B", "4.1 KiB", "25 MiB". */
export function size(octets) {
  if (octets < 1024) return `${octets} B`;
  let value = octets;
  let unit = "B";
  for (unit of ["KiB", "MiB", "GiB", "TiB"]) {
    value /= 1024;
    if (value < 1024) break;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** Seconds → "40 µs", "1.4 ms", "38 ms", "1.20 s", "3 min 05 s". */
export function seconds(value) {
  if (value < 0.0000005) return "0";
  if (value < 0.0001) return `${Math.round(value * 1e6)} µs`;
  if (value < 0.01) return `${(value * 1000).toFixed(1)} ms`;
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  if (value < 99.95) return `${value.toFixed(value < 9.995 ? 2 : 1)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

/** An ISO time → the clock, with the day unless it is today. */
export function clock(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? TIME.format(date) : `${DAY.format(date)} ${TIME.format(date)}`;
}

/** An ISO time in full, for a tooltip. */
export function fullTime(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : FULL.format(date);
}

/** "TLSv1.3" → "1.3"; "" → "–". */
export function tlsVersion(version) {
  return version ? version.replace(/^TLSv/, "") : "–";
}
