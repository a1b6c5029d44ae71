// Draws the plots of the first page with Chart.js, which Unfold brings. Without it, or without this
// script, the numbers stand there as tables.
const COLOURS = ["#2563eb", "#ea580c", "#059669", "#9333ea", "#ca8a04", "#0891b2", "#db2777", "#6b7280"];
const DARK_COLOURS = ["#60a5fa", "#fb923c", "#34d399", "#c084fc", "#facc15", "#22d3ee", "#f472b6", "#9ca3af"];
const DAY = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", timeZone: "UTC" });
const SHORT = new Intl.NumberFormat("en", { notation: "compact" });

function isDark() {
  return document.documentElement.classList.contains("dark");
}

function datasets(series) {
  const colours = isDark() ? DARK_COLOURS : COLOURS;
  return series.map(({ label, values }, index) => ({
    label,
    data: values,
    backgroundColor: colours[index % colours.length],
    maxBarThickness: 28,
  }));
}

function options(series) {
  const text = isDark() ? "#d1d5db" : "#374151";
  const grid = { color: isDark() ? "rgb(255 255 255 / .12)" : "rgb(0 0 0 / .08)" };
  return {
    animation: false,
    maintainAspectRatio: false,
    interaction: { mode: "index", intersect: false },
    plugins: {
      legend: { display: series.length > 1, position: "bottom", labels: { color: text, boxWidth: 12 } },
    },
    scales: {
      x: { stacked: true, grid: { display: false }, ticks: { color: text, maxRotation: 0, autoSkipPadding: 12 } },
      y: { stacked: true, beginAtZero: true, grid, ticks: { color: text, maxTicksLimit: 6, callback: SHORT.format } },
    },
  };
}

function draw(canvas) {
  const { labels, series } = JSON.parse(canvas.dataset.plot);
  const figure = canvas.closest("figure");
  canvas.parentElement.hidden = false;
  figure.querySelector("details").open = false;
  return new Chart(canvas, {
    type: "bar",
    data: { labels: labels.map((day) => DAY.format(new Date(day))), datasets: datasets(series) },
    options: options(series),
  });
}

function recolour(chart) {
  const { series } = JSON.parse(chart.canvas.dataset.plot);
  chart.data.datasets = datasets(series);
  chart.options = options(series);
  chart.update();
}

if (window.Chart) {
  const charts = [...document.querySelectorAll("canvas[data-plot]")].map(draw);
  const themes = new MutationObserver(() => charts.forEach(recolour));
  themes.observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });
}
