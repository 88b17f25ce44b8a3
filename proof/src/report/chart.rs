//! Charts as SVG inside of the page: no script, colours of the page's style, everything readable without colour too
//! (line patterns and marks, a table below).

use std::fmt::Write as _;

use super::scale::Scale;
use super::text::{escape, number};
use crate::{Chart, Series, Shape};

/// Size of the picture in its own units; the page scales it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 340.0;
/// Room for numbers and labels.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 56.0;
/// Share of a place that its bars fill.
const FILLED: f64 = 0.76;
/// Colours and patterns that the style has.
pub(super) const LOOKS: usize = 8;
/// Most points of a line that get marks.
const MARKED: usize = 40;
/// Most characters of the name of a place below the axis.
const PLACE_CHARS: usize = 14;

struct Axes {
    x: Scale,
    y: Scale,
}

/// A chart with its legend and its figures as a table.
pub(super) fn figure(chart: &Chart) -> String {
    let mut html = String::from("<figure class=\"chart\">\n");
    let _ = writeln!(html, "<figcaption>{}</figcaption>", escape(&chart.title));
    html.push_str(&svg(chart));
    html.push_str(&legend(chart));
    html.push_str(&figures(chart));
    html.push_str("</figure>\n");
    html
}

fn svg(chart: &Chart) -> String {
    let axes = axes(chart);
    let described = format!("{}: {} against {}", chart.title, chart.y_label, chart.x_label);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\" preserveAspectRatio=\"xMidYMid meet\">\n",
        escape(&described)
    );
    grid(&mut svg, chart, &axes);
    for (index, series) in chart.series.iter().enumerate() {
        match chart.shape {
            Shape::Line => line(&mut svg, series, index % LOOKS, &axes),
            Shape::Bar => bars(&mut svg, chart, index, &axes),
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn axes(chart: &Chart) -> Axes {
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let (left, right) = (LEFT, WIDTH - RIGHT);
    let x = match chart.shape {
        // From one half before the first place to one half behind the last one.
        Shape::Bar => Scale::new([0.0, places(chart) as f64].into_iter(), false, (left, right))
            .exactly(0.0, places(chart) as f64),
        Shape::Line => Scale::new(points().map(|(x, _)| *x), chart.log_x, (left, right)),
    };
    Axes { x, y: Scale::new(points().map(|(_, y)| *y), chart.log_y, (HEIGHT - BOTTOM, TOP)) }
}

/// How many places there are for bars.
fn places(chart: &Chart) -> usize {
    let last = chart.series.iter().flat_map(|series| &series.points).map(|(x, _)| index(*x) + 1).max();
    chart.places.len().max(last.unwrap_or(0)).max(1)
}

fn index(x: f64) -> usize {
    x.round().clamp(0.0, 1000.0) as usize
}

fn grid(svg: &mut String, chart: &Chart, axes: &Axes) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for tick in axes.y.ticks() {
        let y = axes.y.place(tick);
        let _ =
            writeln!(svg, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
        let _ = writeln!(
            svg,
            "<text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            number(tick)
        );
    }
    let names: Vec<(f64, String)> = match chart.shape {
        Shape::Line => axes.x.ticks().into_iter().map(|tick| (axes.x.place(tick), number(tick))).collect(),
        Shape::Bar => (0..places(chart))
            .map(|at| {
                let name = chart.places.get(at).map_or_else(|| at.to_string(), |name| shortened(name));
                (axes.x.place(at as f64 + 0.5), name)
            })
            .collect(),
    };
    for (x, name) in names {
        if chart.shape == Shape::Line {
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>"
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"mid\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            bottom + 18.0,
            escape(&name)
        );
    }
    let _ = writeln!(
        svg,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>",
        axes.y.ground()
    );
    let middle = f64::midpoint(LEFT, right);
    let _ = writeln!(
        svg,
        "<text class=\"mid label\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>",
        HEIGHT - 12.0,
        escape(&chart.x_label)
    );
    let middle = f64::midpoint(TOP, bottom);
    let _ = writeln!(
        svg,
        "<text class=\"mid label\" transform=\"translate(14 {middle:.1}) rotate(-90)\">{}</text>",
        escape(&chart.y_label)
    );
}

fn shortened(name: &str) -> String {
    match name.char_indices().nth(PLACE_CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

fn line(svg: &mut String, series: &Series, look: usize, axes: &Axes) {
    let shown = series.points.iter().filter(|(x, y)| axes.x.shows(*x) && axes.y.shows(*y));
    let places: Vec<_> = shown.map(|(x, y)| (axes.x.place(*x), axes.y.place(*y), *x, *y)).collect();
    let path: Vec<String> = places.iter().map(|(x, y, ..)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(svg, "<polyline class=\"line look{look}\" points=\"{}\"/>", path.join(" "));
    if places.len() > MARKED {
        return;
    }
    for (x, y, x_value, y_value) in places {
        let title = format!("{}: {} at {}", series.name, number(y_value), number(x_value));
        let _ = writeln!(
            svg,
            "<g class=\"mark look{look}\">{}<title>{}</title></g>",
            mark(look, x, y),
            escape(&title)
        );
    }
}

/// A circle, a square, a diamond or a triangle.
fn mark(look: usize, x: f64, y: f64) -> String {
    match look % 4 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.6\"/>"),
        1 => format!("<rect x=\"{:.1}\" y=\"{:.1}\" width=\"6.6\" height=\"6.6\"/>", x - 3.3, y - 3.3),
        2 => format!("<path d=\"M{x:.1} {:.1}l4.6 4.6l-4.6 4.6l-4.6 -4.6z\"/>", y - 4.6),
        _ => format!("<path d=\"M{x:.1} {:.1}l4.6 7.4h-9.2z\"/>", y - 4.4),
    }
}

fn bars(svg: &mut String, chart: &Chart, series_index: usize, axes: &Axes) {
    let (Some(series), look) = (chart.series.get(series_index), series_index % LOOKS) else { return };
    let width = FILLED / chart.series.len().max(1) as f64;
    let ground = axes.y.ground();
    for (x, y) in series.points.iter().filter(|(x, y)| x.is_finite() && axes.y.shows(*y)) {
        let begin = index(*x) as f64 + (1.0 - FILLED) / 2.0 + series_index as f64 * width;
        let (left, right, end) = (axes.x.place(begin), axes.x.place(begin + width), axes.y.place(*y));
        let place = chart.places.get(index(*x)).map_or("", String::as_str);
        let title = format!("{}: {} {place}", series.name, number(*y));
        let _ = writeln!(
            svg,
            "<rect class=\"bar look{look}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
            ground.min(end),
            (right - left - 1.0).max(1.0),
            (ground - end).abs().max(0.5),
            escape(title.trim_end())
        );
    }
}

fn legend(chart: &Chart) -> String {
    if chart.series.len() < 2 {
        return String::new();
    }
    let mut html = String::from("<ul class=\"legend\">");
    for (index, series) in chart.series.iter().enumerate() {
        let look = index % LOOKS;
        let swatch = match chart.shape {
            Shape::Bar => {
                format!("<rect class=\"bar look{look}\" x=\"6\" y=\"1\" width=\"12\" height=\"10\"/>")
            }
            Shape::Line => format!(
                "<polyline class=\"line look{look}\" points=\"0,6 24,6\"/><g class=\"mark look{look}\">{}</g>",
                mark(look, 12.0, 6.0)
            ),
        };
        let _ = write!(
            html,
            "<li><svg viewBox=\"0 0 24 12\" aria-hidden=\"true\">{swatch}</svg> {}</li>",
            escape(&series.name)
        );
    }
    html.push_str("</ul>\n");
    html
}

/// What is drawn, as a table: a row for each x.
fn figures(chart: &Chart) -> String {
    let mut xs: Vec<f64> = chart.series.iter().flat_map(|series| &series.points).map(|(x, _)| *x).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let mut html = format!(
        "<details><summary>Figures</summary><div class=\"scroll\"><table><thead><tr><th>{}</th>",
        escape(&chart.x_label)
    );
    for series in &chart.series {
        let _ = write!(html, "<th>{}</th>", escape(&series.name));
    }
    html.push_str("</tr></thead><tbody>\n");
    for x in xs {
        let named = (chart.shape == Shape::Bar).then(|| chart.places.get(index(x))).flatten();
        let _ = write!(html, "<tr><td>{}</td>", named.map_or_else(|| exact(x), |name| escape(name)));
        for series in &chart.series {
            let y = series.points.iter().find(|(other, _)| *other == x).map(|(_, y)| exact(*y));
            let _ = write!(html, "<td>{}</td>", y.unwrap_or_default());
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div></details>\n");
    html
}

fn exact(value: f64) -> String {
    let text = if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(shape: Shape, points: &[(f64, f64)]) -> Chart {
        Chart {
            title: "<b>".into(),
            shape,
            places: vec!["one & only".into(), "a place with a long name".into()],
            series: vec![
                Series { name: "x\"y".into(), points: points.to_vec() },
                Series { name: "other".into(), points: vec![(0.0, 1.0)] },
            ],
            ..Chart::default()
        }
    }

    fn count(text: &str, part: &str) -> usize {
        text.matches(part).count()
    }

    #[test]
    fn lines_have_marks_a_legend_and_a_table() {
        let html = figure(&chart(Shape::Line, &[(0.0, 1.0), (1.0, 4.0), (2.0, f64::NAN)]));
        assert_eq!((count(&html, "<polyline class=\"line look0\" points=\"6"), count(&html, "<li>")), (1, 2));
        assert_eq!(count(&html, "x&quot;y: "), 2, "a mark for each point that can be shown");
        assert!(html.contains("<td>1</td><td>4</td><td></td>"), "{html}");
        assert!(!html.contains("<b>") && html.contains("&lt;b&gt;"));
    }

    #[test]
    fn bars_stand_beside_each_other() {
        let html = figure(&chart(Shape::Bar, &[(0.0, 3.0), (1.0, 5.0)]));
        assert!(html.contains("one &amp; only") && html.contains("a place with a…"), "{html}");
        assert_eq!(count(&html, "<rect class=\"bar look0\" x=\"6\""), 1);
        assert_eq!(count(&html, "<title>x&quot;y: "), 2);
    }

    #[test]
    fn no_chart_holds_what_is_no_number() {
        for points in [
            &[][..],
            &[(f64::NAN, 1.0)],
            &[(1.0, f64::INFINITY)],
            &[(0.0, 0.0)],
            &[(-4.0, -2.0), (1e12, 1e-9)],
        ] {
            for shape in [Shape::Line, Shape::Bar] {
                for is_log in [false, true] {
                    let mut chart = chart(shape, points);
                    (chart.log_x, chart.log_y) = (is_log, is_log);
                    let svg = svg(&chart);
                    assert!(
                        !svg.contains("NaN") && !svg.contains("inf"),
                        "{points:?} {shape:?} {is_log}: {svg}"
                    );
                }
            }
        }
    }
}
