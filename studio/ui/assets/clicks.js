// A panel's buttons: data-event is 'act', 'reuse', 'frame', 'example', 'fetch' or 'edit'; the rest is what it says.
element.addEventListener('click', (click) => {
  const button = click.target.closest('button[data-event]');
  if (!button || !element.contains(button)) return;
  const card = button.closest('[data-clip]');
  const video = card && card.querySelector('video[controls]');
  trigger(button.dataset.event, {
    do: button.dataset.do,
    id: button.dataset.id,
    at: video && video.paused && video.currentTime > 0 ? video.currentTime : null,
    mode: window.studioMode(),
  });
});
