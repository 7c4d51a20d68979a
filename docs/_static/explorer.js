// The explorer: what is chosen above goes to the charts as their parameters.
(async () => {
  const form = document.getElementById("explorer-controls");
  const all = await (await fetch(form.dataset.from)).json();
  const boxes = form.querySelector("fieldset"), said = document.querySelector(".explorer-said");
  const option = (text, value) => new Option(text, value ?? text);
  for (const [i, s] of all.settings.entries()) {
    form.setting.add(option(`${s.title}, profile ${s.profile}`, i));
  }
  for (const name of all.ablations) form.ablation.add(option(name));
  for (const name of all.methods) {
    const box = Object.assign(document.createElement("input"), {
      type: "checkbox", name: "method", value: name, checked: all.shown.includes(name),
    });
    const colour = document.createElement("i");
    const scale = all.charts.layers.encoding.color.scale;
    colour.style.background = scale.range[scale.domain.indexOf(name)];
    const label = document.createElement("label");
    label.append(box, colour, ` ${name}`);
    boxes.append(label);
  }
  const asked = new URLSearchParams(location.search).get("setting");
  const first = all.settings.findIndex(s => s.setting === asked);
  form.setting.value = Math.max(first, 0);

  const chosen = () => all.settings[form.setting.value];
  const parameters = () => ({
    methods: [...form.querySelectorAll("[name=method]:checked")].map(box => box.value),
    ablation: form.ablation.value,
    sparsity: chosen().sparsities[form.sparsity.value],
    lowest: form.enlarged.checked ? chosen().lowest : 0,
  });
  const absent = (rows, fits, now) => now.methods.filter(
    name => !rows.some(row => row.method === name && row.ablation === now.ablation && fits(row)));
  const say = now => {
    const s = chosen(), ablation = now.ablation.toLowerCase();
    form.said.value = `${now.sparsity} %`;
    const trained = absent(s.accuracy, () => true, now);
    const masks = absent(s.masks, row => row.sparsity === now.sparsity, now);
    const data = s.data.length ? `Data: ${s.data.join(", ")}.` : "";
    const lines = [data];
    if (!s.accuracy.length) lines.push(`Nothing was trained of it: ${s.price}.`);
    else if (trained.length) lines.push(`Not trained, ${ablation}: ${trained.join(", ")}.`);
    if (masks.length) {
      lines.push(`No masks were read, ${ablation}, at ${now.sparsity} %: ${masks.join(", ")}.`);
    }
    said.textContent = lines.join(" ");
  };

  let views = [];
  const draw = async () => {
    const s = chosen(), kept = form.sparsity.value;
    form.sparsity.max = s.sparsities.length - 1;
    if (!form.sparsity.dataset.touched) form.sparsity.value = Math.floor(s.sparsities.length / 2);
    else form.sparsity.value = Math.min(kept, s.sparsities.length - 1);
    const now = parameters();
    const datasets = {
      accuracy: s.accuracy.map(row => ({...row, shown: row.ablation === all.ablations[0]})),
      masks: s.masks.map(row => ({...row, names: s.names})),
      here: [{}],
    };
    views = await Promise.all(Object.entries(all.charts).map(async ([name, chart]) => {
      const spec = {
        ...chart, datasets, width: "container", height: name === "layers" ? 360 : 280, background: "white", padding: 12,
        params: Object.entries(now).map(([name, value]) => ({name, value})),
        description: `${chart.title.text}: ${s.title}`,
        config: {axis: {labelOverlap: true, labelLimit: 130}},
        autosize: {type: "fit", contains: "padding"},
      };
      const place = document.querySelector(`[data-chart=${name}]`);
      return (await vegaEmbed(place, spec, {actions: false, renderer: "svg"})).view;
    }));
    say(now);
  };
  const choose = async event => {
    if (event.target === form.setting) return draw();
    if (event.target === form.sparsity) form.sparsity.dataset.touched = true;
    const now = parameters();
    for (const view of views) {
      for (const [name, value] of Object.entries(now)) view.signal(name, value);
      await view.runAsync();
    }
    say(now);
  };
  form.addEventListener("input", choose);
  form.addEventListener("submit", event => event.preventDefault());
  await draw();
  form.dataset.ready = true;
})();
