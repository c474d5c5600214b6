// Shortcuts, the theme switch, hovering cards, the title. No request leaves this page from here.
(() => {
  const THEME = 'studio-theme';

  const setTheme = (name) => document.body.classList.toggle('dark', name === 'dark');

  const startTheme = () => {
    let kept = null;
    try { kept = localStorage.getItem(THEME); } catch (error) { kept = null; }
    if (kept) setTheme(kept);
  };

  const switchTheme = () => {
    const next = document.body.classList.contains('dark') ? 'light' : 'dark';
    setTheme(next);
    try { localStorage.setItem(THEME, next); } catch (error) { /* private windows keep nothing */ }
  };

  const visible = (selector) =>
    [...document.querySelectorAll(selector)].find((found) => found.offsetParent !== null);

  // The panel of the chosen tab holds components whose ids begin with the mode.
  window.studioMode = (tab) => {
    const panel = document.getElementById(tab.getAttribute('aria-controls') || '');
    const part = (panel || document).querySelector('[id$="-generate"]');
    return part ? part.id.replace('-generate', '') : '';
  };

  document.addEventListener('keydown', (key) => {
    if (key.key === 'Enter' && (key.ctrlKey || key.metaKey)) {
      const button = visible('button[id$="-generate"]');
      if (button) { key.preventDefault(); document.activeElement.blur(); button.click(); }
    }
  });

  document.addEventListener('click', (click) => {
    if (click.target.closest('[data-theme-switch]')) switchTheme();
  });

  const hover = (event, play) => {
    const thumb = event.target.closest && event.target.closest('.vs-thumb');
    const video = thumb && thumb.querySelector('video');
    if (!video || thumb.contains(event.relatedTarget)) return;
    if (play) video.play().catch(() => {});
    else { video.pause(); video.currentTime = 0; }
  };
  const still = matchMedia('(prefers-reduced-motion: reduce)');
  document.addEventListener('mouseover', (event) => { if (!still.matches) hover(event, true); });
  document.addEventListener('mouseout', (event) => hover(event, false));

  const showTitle = () => {
    const stage = document.querySelector('#stage [data-title]');
    const name = document.querySelector('.vs-header h1');
    if (!stage || !name) return;
    const said = stage.dataset.title;
    const title = (said ? said + ' · ' : '') + name.textContent.trim();
    if (document.title !== title) document.title = title;
  };

  document.addEventListener('DOMContentLoaded', () => {
    startTheme();
    new MutationObserver(showTitle).observe(document.body, {
      subtree: true, childList: true, attributes: true, attributeFilter: ['data-title'],
    });
  });
})();
