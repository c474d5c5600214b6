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

  // The mode whose Generate button is seen.
  window.studioMode = () => {
    const button = visible('button[id$="-generate"]');
    return button ? button.id.replace('-generate', '') : '';
  };

  document.addEventListener('keydown', (key) => {
    if (key.key === 'Enter' && (key.ctrlKey || key.metaKey)) {
      const button = visible('button[id$="-generate"]');
      if (button) { key.preventDefault(); document.activeElement.blur(); button.click(); }
    }
  });

  // On a phone the stage is below the form: after Generate it comes into view.
  const followStage = () => {
    const stage = document.getElementById('stage');
    if (stage && matchMedia('(max-width: 760px)').matches) {
      setTimeout(() => stage.scrollIntoView({ behavior: 'smooth', block: 'start' }), 600);
    }
  };

  document.addEventListener('click', (click) => {
    if (click.target.closest('[data-theme-switch]')) switchTheme();
    if (click.target.closest('button[id$="-generate"]')) followStage();
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

  const start = () => {
    startTheme();
    new MutationObserver(showTitle).observe(document.body, {
      subtree: true, childList: true, attributes: true, attributeFilter: ['data-title'],
    });
    showTitle();
  };
  // Gradio may add this script before or after the body is there.
  if (document.body) start();
  else document.addEventListener('DOMContentLoaded', start);
})();
