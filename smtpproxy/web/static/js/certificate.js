// A peer's certificate chain, folded away. It judges nothing: what is wrong with it was said by the proxy.

import { h } from "./dom.js";
import { visible } from "./octets.js";

/** The chain, leaf first; null where there is none. The item remembers whether it is unfolded. */
export function certificateDetails(certificates, item) {
  if (!certificates?.length) return null;
  const details = h(
    "details",
    { class: "certificates", open: item.isOpen },
    h("summary", {}, `certificate: ${certificates[0].subject || "no subject"}`),
    certificates.map((certificate, depth) => one(certificate, depth)),
  );
  details.addEventListener("toggle", () => {
    item.isOpen = details.open;
  });
  return details;
}

function one(certificate, depth) {
  const facts = [
    ["subject", certificate.subject],
    ["issuer", certificate.issuer],
    ["names", (certificate.names ?? []).join(", ")],
    ["valid", `${certificate.not_before} to ${certificate.not_after}`],
    ["SHA-256", certificate.sha256],
  ];
  return h(
    "dl",
    { class: "facts", "aria-label": depth ? `Issuer ${depth}` : "The peer's certificate" },
    facts.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, visible(value)))),
  );
}
