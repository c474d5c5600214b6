// Cards of a shot list: what a person changed is told when a field is left, all of it at once.
const told = () => [...element.querySelectorAll('[data-shot]')].map((card) => Object.fromEntries(
  [...card.querySelectorAll('[name]')].map((f) => [f.name, f.type === 'checkbox' ? f.checked : f.value]),
));
let last = null;
element.addEventListener('focusin', (event) => {
  const card = event.target.closest('[data-shot]');
  last = card && event.target.name ? [card.dataset.shot, event.target.name] : null;
});
element.addEventListener('change', (event) => {
  if (event.target.closest('[data-shot]')) trigger('card', { do: 'edit', id: '0', shots: told() });
});
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-do]');
  if (button) trigger('card', { do: button.dataset.do, id: button.dataset.id, shots: told() });
});
// The cards are drawn anew after a change; who goes from field to field stays where they were.
new MutationObserver(() => {
  if (!last || document.activeElement !== document.body) return;
  const field = element.querySelector(`[data-shot="${last[0]}"] [name="${last[1]}"]`);
  if (field) field.focus();
}).observe(element, { childList: true, subtree: true });
