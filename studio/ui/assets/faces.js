// Boxes over a portrait: drag inside to move, near the lower right corner to resize, on free
// ground to draw. What comes out is written into the text field, which tells the server.
const field = () => document.querySelector('#avatar-faces textarea');
let held = null;
const place = (svg, event) => {
  const box = svg.getBoundingClientRect();
  const view = svg.viewBox.baseVal;
  return {
    x: ((event.clientX - box.left) * view.width) / box.width,
    y: ((event.clientY - box.top) * view.height) / box.height,
  };
};
const read = (rect) => ['x', 'y', 'width', 'height'].map((n) => Number(rect.getAttribute(n)));
const write = (rect, values) => ['x', 'y', 'width', 'height'].forEach(
  (name, i) => rect.setAttribute(name, Math.round(values[i])),
);
element.addEventListener('pointerdown', (event) => {
  const svg = event.target.closest('svg');
  if (!svg || !svg.closest('.vs-faces')) return;
  event.preventDefault();
  const at = place(svg, event);
  let rect = event.target.closest('rect');
  let how = 'draw';
  if (rect) {
    const [x, y, w, h] = read(rect);
    how = at.x > x + 0.7 * w && at.y > y + 0.7 * h ? 'draw' : 'move';
  } else {
    rect = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    write(rect, [at.x, at.y, 1, 1]);
    svg.appendChild(rect);
  }
  held = { svg, rect, how, at, begun: read(rect) };
  svg.setPointerCapture(event.pointerId);
});
element.addEventListener('pointermove', (event) => {
  if (!held) return;
  const view = held.svg.viewBox.baseVal;
  const at = place(held.svg, event);
  const [x, y, w, h] = held.begun;
  if (held.how === 'move') {
    const left = Math.min(Math.max(0, x + at.x - held.at.x), view.width - w);
    write(held.rect, [left, Math.min(Math.max(0, y + at.y - held.at.y), view.height - h), w, h]);
  } else {
    const right = Math.min(view.width, at.x);
    write(held.rect, [x, y, Math.max(4, right - x), Math.max(4, Math.min(view.height, at.y) - y)]);
  }
});
element.addEventListener('pointerup', () => {
  if (!held) return;
  const boxes = [...held.svg.querySelectorAll('rect')].map(read);
  held = null;
  const text = field();
  text.value = boxes.filter(([, , w, h]) => w > 4 && h > 4).map((b) => b.join(', ')).join('\n');
  text.dispatchEvent(new Event('input', { bubbles: true }));
});
