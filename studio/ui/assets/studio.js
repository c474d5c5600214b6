// Shortcuts, the theme switch, hovering cards, the title. No request leaves this page from here.
(() => {
  const THEME = 'studio-theme';

  const setTheme = (name) => document.body.classList.toggle('dark', name === 'dark');

  const system = matchMedia('(prefers-color-scheme: dark)');

  const keptTheme = () => {
    try { return localStorage.getItem(THEME) || 'auto'; } catch (error) { return 'auto'; }
  };

  const showTheme = () => {
    const kept = keptTheme();
    setTheme(kept === 'auto' ? (system.matches ? 'dark' : 'light') : kept);
    for (const button of document.querySelectorAll('[data-theme-set]')) {
      const pressed = String(button.dataset.themeSet === kept);
      if (button.getAttribute('aria-pressed') !== pressed) button.setAttribute('aria-pressed', pressed);
    }
  };

  const keepTheme = (name) => {
    try { localStorage.setItem(THEME, name); } catch (error) { setTheme(name); return; }
    showTheme();
  };

  const switchTheme = () => keepTheme(document.body.classList.contains('dark') ? 'light' : 'dark');

  const setLanguage = (name) => {
    document.cookie = `studio-language=${name}; path=/; max-age=31536000; SameSite=Lax`;
    location.reload();
  };

  // The tabs at the top; the first has the forms.
  const PLACES = ['create', 'gallery', 'queue', 'models', 'settings'];
  const go = (place) => {
    const tab = document.getElementById(`place-${place}-button`)
      || document.querySelectorAll('#places > .tab-wrapper [role="tab"]')[PLACES.indexOf(place)];
    if (tab && tab.getAttribute('aria-selected') !== 'true') tab.click();
    return tab;
  };
  const TO_STAGE = ['open', 'show', 'restore', 'reuse', 'continue', 'first', 'last', 'assemble', 't2v'];

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
      return;
    }
    const at = document.activeElement;
    const typing = at && (at.matches('input, textarea, select, video, [contenteditable]')
      || at.closest('[role="listbox"], [role="slider"], [role="tablist"]'));
    const dialog = document.getElementById('vs-help');
    if (key.key === 'Escape') {
      if (dialog && dialog.open) return;
      if (typing) { at.blur(); return; }
      const cancel = visible('#stage [data-do="cancel"]');
      if (cancel) cancel.click();
      return;
    }
    if (typing || key.ctrlKey || key.metaKey || key.altKey) return;
    if (key.key === '?') { key.preventDefault(); if (dialog && !dialog.open) dialog.showModal(); }
    else if (/^[1-5]$/.test(key.key)) { const tab = go(PLACES[key.key - 1]); if (tab) tab.focus(); }
    else if (key.key === 'ArrowLeft' || key.key === 'ArrowRight') step(key);
  });

  // Arrows go from clip to clip, in the gallery and in the row beside the stage.
  const step = (key) => {
    const thumbs = [...document.querySelectorAll('.vs-thumb')].filter((t) => t.offsetParent !== null);
    if (!thumbs.length) return;
    const now = thumbs.indexOf(document.activeElement);
    const next = now < 0 ? 0 : now + (key.key === 'ArrowRight' ? 1 : -1);
    if (next < 0 || next >= thumbs.length) return;
    key.preventDefault();
    thumbs[next].focus();
    thumbs[next].scrollIntoView({ block: 'nearest' });
  };

  // On a phone the stage is below the form: after Generate it comes into view.
  const followStage = () => {
    const stage = document.getElementById('stage');
    if (stage && matchMedia('(max-width: 760px)').matches) {
      setTimeout(() => stage.scrollIntoView({ behavior: 'smooth', block: 'start' }), 600);
    }
  };

  document.addEventListener('click', (click) => {
    const button = click.target.closest('button');
    if (!button) return;
    const says = button.dataset;
    if ('themeSwitch' in says) switchTheme();
    if (says.themeSet) keepTheme(says.themeSet);
    if (says.language) setLanguage(says.language);
    if (says.go) { const tab = go(says.go); if (tab) tab.focus(); }
    if ('help' in says) document.getElementById('vs-help').showModal();
    if ('both' in says) playBoth();
    if (says.event && TO_STAGE.includes(says.do)) go('create');
    if (says.event === 'edit') {
      go('gallery');
      setTimeout(() => document.getElementById('edit').scrollIntoView({ block: 'nearest' }), 300);
    }
    if (click.target.closest('button[id$="-generate"]')) followStage();
  });

  const playBoth = () => {
    for (const video of document.querySelectorAll('#stage .vs-sides video')) {
      video.currentTime = 0;
      video.play().catch(() => {});
    }
  };

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

  let lastState = '';
  let unseen = '';
  const showTitle = () => {
    const stage = document.querySelector('#stage [data-title]');
    const name = document.querySelector('.vs-header h1');
    if (!stage || !name) return;
    // Whoever looks elsewhere sees in the tab that it is done.
    if (stage.dataset.state !== lastState) {
      if (lastState === 'running' && stage.dataset.state === 'done' && document.hidden) unseen = '● ';
      lastState = stage.dataset.state;
    }
    if (!document.hidden) unseen = '';
    const said = unseen + stage.dataset.title;
    const title = (said ? said + ' · ' : '') + name.textContent.trim();
    if (document.title !== title) document.title = title;
  };

  const start = () => {
    showTheme();
    system.addEventListener('change', showTheme);
    document.addEventListener('visibilitychange', showTitle);
    new MutationObserver(() => { showTitle(); showTheme(); }).observe(document.body, {
      subtree: true, childList: true, attributes: true, attributeFilter: ['data-title'],
    });
    showTitle();
  };
  // Gradio may add this script before or after the body is there.
  if (document.body) start();
  else document.addEventListener('DOMContentLoaded', start);
})();
