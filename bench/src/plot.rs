//! The plots of docs/performance.md, each as SVG and as PNG.

use std::{fs, path::Path, sync::OnceLock};

use anyhow::{Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::*,
    style::{FontStyle, register_font},
};

use crate::{
    rates::Subject,
    report::Report,
    scene::{SIZES, Size, Way},
    stats::Spread,
};

/// Where Debian's package fonts-dejavu-core has the font.
const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
/// Pixels.
const WIDTH: u32 = 960;
const COLOURS: [RGBColor; 5] =
    [RGBColor(0, 90, 160), RGBColor(200, 80, 0), RGBColor(0, 130, 70), RGBColor(120, 120, 120), RGBColor(130, 40, 140)];

/// Bars with what they are called and how far the measurements spread.
struct Bars {
    title: String,
    unit: &'static str,
    bars: Vec<(String, Spread, usize)>,
    /// A line across all bars, with its name.
    line: Option<(f64, String)>,
}

/// Lines through points.
struct Lines {
    title: &'static str,
    x: &'static str,
    y: &'static str,
    lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// Draws what the report has figures for; gives the names of the files without their endings.
///
/// # Errors
/// The files cannot be written, or there is no font.
pub(crate) fn draw(report: &Report, directory: &Path) -> Result<Vec<&'static str>> {
    font()?;
    let mut drawn = Vec::new();
    let bars = [("ns", ns(report)), ("rates", rates(report)), ("bulk", bulk(report))];
    for (name, bars) in bars.into_iter().filter(|(_, bars)| !bars.bars.is_empty()) {
        let height = 90 + 22 * bars.bars.len() as u32;
        draw_both(directory, name, height, &|area| draw_bars(area, &bars), &|area| draw_bars(area, &bars))?;
        drawn.push(name);
    }
    for (name, lines) in [("sizes", sizes(report)), ("load", load(report))] {
        if lines.lines.iter().any(|(_, points)| !points.is_empty()) {
            draw_both(directory, name, 480, &|area| draw_lines(area, &lines), &|area| draw_lines(area, &lines))?;
            drawn.push(name);
        }
    }
    Ok(drawn)
}

fn font() -> Result<()> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    if BYTES.get().is_none() {
        let cure = "`cargo xtask setup` installs it (Debian's package fonts-dejavu-core)";
        let bytes = fs::read(FONT).map_err(|error| anyhow!("reading the font {FONT}: {error}; {cure}"))?;
        let _ = BYTES.set(bytes);
    }
    let bytes = BYTES.get().map_or(&[][..], Vec::as_slice);
    register_font("sans-serif", FontStyle::Normal, bytes).map_err(|_| anyhow!("{FONT} is no font"))
}

type OnSvg<'a> = dyn Fn(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<()> + 'a;
type OnPng<'a> = dyn Fn(&DrawingArea<BitMapBackend<'_>, Shift>) -> Result<()> + 'a;

fn draw_both(directory: &Path, name: &str, height: u32, svg: &OnSvg<'_>, png: &OnPng<'_>) -> Result<()> {
    let (svg_path, png_path) = (directory.join(format!("{name}.svg")), directory.join(format!("{name}.png")));
    let area = SVGBackend::new(&svg_path, (WIDTH, height)).into_drawing_area();
    svg(&area)?;
    area.present().map_err(|error| anyhow!("writing {}: {error}", svg_path.display()))?;
    let area = BitMapBackend::new(&png_path, (WIDTH, height)).into_drawing_area();
    png(&area)?;
    area.present().map_err(|error| anyhow!("writing {}: {error}", png_path.display()))
}

fn draw_bars<B: DrawingBackend>(area: &DrawingArea<B, Shift>, bars: &Bars) -> Result<()>
where
    B::ErrorType: 'static,
{
    area.fill(&WHITE).map_err(plain)?;
    let most = bars.bars.iter().map(|(_, spread, _)| spread.max).fold(0.0, f64::max);
    let count = bars.bars.len();
    let mut chart = ChartBuilder::on(area)
        .caption(&bars.title, ("sans-serif", 17))
        .margin(10)
        .x_label_area_size(34)
        .y_label_area_size(330)
        .build_cartesian_2d(0.0..most * 1.05, 0.0..count as f64)
        .map_err(plain)?;
    let name = |y: &f64| {
        let index = (count as f64 - *y).floor();
        bars.bars.get(index as usize).map_or_else(String::new, |(name, ..)| name.clone())
    };
    chart.configure_mesh().disable_y_mesh().disable_y_axis().y_labels(0).x_desc(bars.unit).draw().map_err(plain)?;
    for (index, (_, spread, colour)) in bars.bars.iter().enumerate() {
        let (top, bottom) = ((count - index) as f64 - 0.15, (count - index) as f64 - 0.85);
        let middle = f64::midpoint(top, bottom);
        let colour = COLOURS[colour % COLOURS.len()];
        chart.draw_series([Rectangle::new([(0.0, bottom), (spread.median, top)], colour.filled())]).map_err(plain)?;
        chart
            .draw_series([PathElement::new(vec![(spread.min, middle), (spread.max, middle)], BLACK.stroke_width(2))])
            .map_err(plain)?;
        let (_, y) = chart.backend_coord(&(0.0, middle));
        let label = format!("{}  {:.2}", name(&middle), spread.median);
        let style = ("sans-serif", 13).into_font().color(&BLACK);
        let width = area.estimate_text_size(&label, &style).map_err(plain)?.0 as i32;
        area.draw_text(&label, &style, (332 - width, y - 7)).map_err(plain)?;
    }
    if let Some((x, name)) = &bars.line {
        let line = PathElement::new(vec![(*x, 0.0), (*x, count as f64)], RED.stroke_width(1));
        chart
            .draw_series([line])
            .map_err(plain)?
            .label(name.as_str())
            .legend(|(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], RED));
        legend(&mut chart)?;
    }
    Ok(())
}

fn draw_lines<B: DrawingBackend>(area: &DrawingArea<B, Shift>, lines: &Lines) -> Result<()>
where
    B::ErrorType: 'static,
{
    area.fill(&WHITE).map_err(plain)?;
    let points = || lines.lines.iter().flat_map(|(_, points)| points);
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(area)
        .caption(lines.title, ("sans-serif", 17))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..most(|point| point.0), 0.0..most(|point| point.1))
        .map_err(plain)?;
    chart.configure_mesh().x_desc(lines.x).y_desc(lines.y).draw().map_err(plain)?;
    for (index, (name, points)) in lines.lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))
            .map_err(plain)?
            .label(name.as_str())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    legend(&mut chart)
}

type Plane = Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>;

fn legend<'a, B: DrawingBackend + 'a>(chart: &mut ChartContext<'a, B, Plane>) -> Result<()>
where
    B::ErrorType: 'static,
{
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::LowerRight).background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.4));
    labels.draw().map_err(plain)
}

fn plain<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("drawing: {error}")
}

fn ns(report: &Report) -> Bars {
    let rows = report.ns.iter().flat_map(|ns| &ns.rows);
    let colour = |way: &str| usize::from(way != Way::FourToSix.to_string());
    Bars {
        title: "Time of one packet, as a multiple of a bare XDP_TX".to_owned(),
        unit: "times a bare XDP_TX; bar: median, line: least to greatest",
        bars: rows.map(|row| (format!("{} {}", row.way, row.scene), row.over_transmit, colour(&row.way))).collect(),
        line: report.ns.as_ref().map(|_| (2.5, "to reach, UDP and TCP".to_owned())),
    }
}

fn rates(report: &Report) -> Bars {
    let mut bars: Vec<(String, Spread, usize)> = Vec::new();
    for row in report.rates.iter().filter(|row| row.scene == "UDP" && row.cpus == 1) {
        for (name, spread, colour) in
            [(row.over.clone(), row.over_mpps, 3), (row.subject.to_string(), row.mpps, usize::from(row.way != "4→6"))]
        {
            let name = format!("{} {name}", row.way);
            if !bars.iter().any(|(there, ..)| *there == name) {
                bars.push((name, spread, colour));
            }
        }
    }
    Bars {
        title: "UDP, frames of 128 bytes, one CPU for generator, relay and far end".to_owned(),
        unit: "million packets a second; bar: median, line: least to greatest",
        bars,
        line: None,
    }
}

fn bulk(report: &Report) -> Bars {
    let name = |row: &crate::bulk::Row| {
        format!("{}, {}", row.subject, if row.segments { "segments of 64 KiB" } else { "frames as on a wire" })
    };
    Bars {
        title: "TCP in bulk between namespaces (iperf3)".to_owned(),
        unit: "Gbit/s; bar: median, line: least to greatest",
        bars: report.bulk.iter().map(|row| (name(row), row.gbits, 0)).collect(),
        line: None,
    }
}

fn sizes(report: &Report) -> Lines {
    let mut lines = Vec::new();
    for way in Way::BOTH.map(|way| way.to_string()) {
        for (over, subject) in [(Subject::Redirect, false), (Subject::Redirect, true), (Subject::Linux, false)] {
            let sized = SIZES.into_iter().filter_map(|size| {
                let scene = format!("UDP, {} bytes", Size::Fixed(size));
                let row = report.rates.iter().find(|row| {
                    row.way == way && row.scene == scene && row.over == over.to_string() && row.subject == Subject::Xlat
                })?;
                Some((f64::from(size), if subject { row.mpps } else { row.over_mpps }.median))
            });
            let name = if subject { Subject::Xlat } else { over };
            lines.push((format!("{way} {name}"), sized.collect()));
        }
    }
    Lines {
        title: "Packets a second by frame size",
        x: "bytes of the IPv4 frame",
        y: "million packets a second",
        lines,
    }
}

fn load(report: &Report) -> Lines {
    let line = |row: &crate::rates::load::Row| (format!("{} {}", row.way, row.subject), row.curve.clone());
    Lines {
        title: "What comes through at a load; load and relay on a CPU each",
        x: "million packets a second sent",
        y: "million packets a second arrived",
        lines: report.load.iter().filter(|row| row.way == "4→6").map(line).collect(),
    }
}
