// Light or dark, as the system says or as chosen here. Runs before the page is painted, so it is no module.

(() => {
  const KEY = "smtpproxy-theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  function stored() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is off: the choice lasts for this visit
    }
  }

  let chosen = stored();

  function isDark() {
    return chosen ? chosen === "dark" : system.matches;
  }

  function show() {
    root.dataset.theme = isDark() ? "dark" : "light";
    const button = document.getElementById("theme");
    if (!button) return;
    const other = isDark() ? "light" : "dark";
    button.textContent = isDark() ? "☀" : "☾";
    button.title = `Use the ${other} theme`;
    button.setAttribute("aria-label", button.title);
  }

  function toggle() {
    chosen = isDark() ? "light" : "dark";
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // as above
    }
    show();
  }

  show();
  system.addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", toggle);
    show();
  });
})();
