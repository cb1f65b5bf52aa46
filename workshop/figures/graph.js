function (name) {
  "use strict";
  const svg = document.querySelector("#" + name + " svg");
  if (!svg || svg.dataset.ready) return;
  svg.dataset.ready = "yes";
  const view = svg.querySelector(".view");
  const nodes = new Map([...svg.querySelectorAll(".node")].map(node => [node.dataset.name, node]));
  const edges = [...svg.querySelectorAll(".edge")];
  const place = node => node.transform.baseVal.getItem(0).matrix;
  let shift = { x: 0, y: 0, zoom: 1 };
  let held = null;

  const point = event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return { x: (at.x - shift.x) / shift.zoom, y: (at.y - shift.y) / shift.zoom };
  };
  const show = () => view.setAttribute("transform", `translate(${shift.x} ${shift.y}) scale(${shift.zoom})`);
  const draw = edge => {
    const a = place(nodes.get(edge.dataset.source)), b = place(nodes.get(edge.dataset.target));
    edge.setAttribute("points", `${a.e},${a.f} ${(a.e + b.e) / 2},${(a.f + b.f) / 2} ${b.e},${b.f}`);
  };
  const look = node => {
    const name = node.dataset.name;
    const touching = edges.filter(edge => edge.dataset.source === name || edge.dataset.target === name);
    svg.classList.add("active");
    [node, ...touching].forEach(part => part.classList.add("near"));
    touching.forEach(edge => [edge.dataset.source, edge.dataset.target]
      .forEach(end => nodes.get(end).classList.add("near")));
  };
  const leave = () => {
    svg.classList.remove("active");
    svg.querySelectorAll(".near").forEach(part => part.classList.remove("near"));
  };

  nodes.forEach(node => {
    node.addEventListener("pointerenter", () => held || look(node));
    node.addEventListener("pointerleave", () => held || leave());
    node.addEventListener("focus", () => { leave(); look(node); });
    node.addEventListener("blur", leave);
  });
  svg.addEventListener("pointerdown", event => {
    const node = event.target.closest(".node");
    const at = point(event), was = node ? place(node) : { e: 0, f: 0 };
    held = { node, from: at, offset: { x: was.e - at.x, y: was.f - at.y } };
    svg.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  svg.addEventListener("pointermove", event => {
    if (!held) return;
    const at = point(event);
    if (held.node) {
      held.node.setAttribute("transform", `translate(${at.x + held.offset.x} ${at.y + held.offset.y})`);
      edges.filter(edge => [edge.dataset.source, edge.dataset.target].includes(held.node.dataset.name)).forEach(draw);
    } else {
      shift.x += (at.x - held.from.x) * shift.zoom;
      shift.y += (at.y - held.from.y) * shift.zoom;
      show();
    }
  });
  ["pointerup", "pointercancel"].forEach(kind => svg.addEventListener(kind, () => { held = null; leave(); }));
  svg.addEventListener("wheel", event => {
    if (!event.ctrlKey) return;  // the wheel alone scrolls the page
    event.preventDefault();
    const at = point(event), zoom = Math.min(6, Math.max(0.5, shift.zoom * Math.exp(-event.deltaY / 300)));
    shift = { x: shift.x + at.x * (shift.zoom - zoom), y: shift.y + at.y * (shift.zoom - zoom), zoom };
    show();
  }, { passive: false });
  svg.addEventListener("dblclick", () => { shift = { x: 0, y: 0, zoom: 1 }; show(); });
}
