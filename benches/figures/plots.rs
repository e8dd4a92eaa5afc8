//! The plots, as SVG.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::Medians;

type Result = std::result::Result<(), Box<dyn Error>>;

/// By tracer.
const COLOURS: [RGBColor; 5] = [
    RGBColor(140, 140, 140),
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
];

const FONT: (&str, u32) = ("sans-serif", 14);

/// A bar for each kind and tracer, over a logarithmic axis.
pub fn latency(path: &Path, medians: &Medians, kinds: &[&str], tracers: &[&str]) -> Result {
    let area = SVGBackend::new(path, (960, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let all = kinds.iter().filter_map(|kind| medians.get(*kind)).flat_map(BTreeMap::values);
    let (low, high) = bounds(all.map(|ns| ns / 1e3));
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .caption("one stop, tracer and tracee on one CPU", ("sans-serif", 18))
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..kinds.len() as f64, (low..high).log_scale())?;
    let label = |x: &f64| {
        let place = x.floor() as usize;
        let kind = kinds.get(place).filter(|_| (x - x.floor() - 0.5).abs() < 0.01);
        kind.map_or(String::new(), |kind| kind.replace("_", " "))
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(kinds.len() * 2 + 1)
        .x_label_formatter(&label)
        .y_desc("microseconds")
        .y_label_formatter(&|us| format!("{us}"))
        .label_style(FONT)
        .draw()?;
    let width = 0.8 / tracers.len() as f64;
    for (t, (tracer, colour)) in tracers.iter().zip(COLOURS).enumerate() {
        let bars = kinds.iter().enumerate().filter_map(|(k, kind)| {
            let us = medians.get(*kind)?.get(*tracer)? / 1e3;
            let left = k as f64 + 0.1 + t as f64 * width;
            let corners = [(left, low), (left + width * 0.92, us)];
            Some(Rectangle::new(corners, colour.filled()))
        });
        chart
            .draw_series(bars)?
            .label(*tracer)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    legend(&mut chart)?;
    area.present()?;
    Ok(())
}

/// A line for each way to wait, over the number of idle tracees.
pub fn scaling(path: &Path, group: &BTreeMap<String, f64>, idle: &[u64], waits: &[&str]) -> Result {
    let caption = "one int3 stop among idle tracees, all on one CPU";
    lines(path, caption, "idle tracees (none is drawn as one)", group, idle, waits)
}

/// A line for each way to have a breakpoint, over the number of other threads.
pub fn breakpoints(
    path: &Path,
    group: &BTreeMap<String, f64>,
    threads: &[u64],
    ways: &[&str],
) -> Result {
    let caption = "a breakpoint's hit and on among threads that sleep";
    lines(path, caption, "other threads (none is drawn as one)", group, threads, ways)
}

/// A line for each of `who`, over numbers, both axes logarithmic.
fn lines(
    path: &Path,
    caption: &str,
    x: &str,
    group: &BTreeMap<String, f64>,
    numbers: &[u64],
    who: &[&str],
) -> Result {
    let area = SVGBackend::new(path, (720, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let (low, high) = bounds(group.values().map(|ns| ns / 1e3));
    let most = numbers.iter().max().copied().unwrap_or(1) as f64;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .caption(caption, ("sans-serif", 18))
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d((1.0..most * 1.3).log_scale(), (low..high).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc("microseconds")
        .x_label_formatter(&|n| format!("{n:.0}"))
        .y_label_formatter(&|us| format!("{us}"))
        .label_style(FONT)
        .draw()?;
    for (who, colour) in who.iter().zip(COLOURS) {
        let points: Vec<(f64, f64)> = numbers
            .iter()
            .filter_map(|n| Some((*n as f64, group.get(&format!("{who}_{n}"))? / 1e3)))
            .map(|(n, us)| (n.max(1.0), us))
            .collect();
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
            .label(who.replace('_', " "))
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
        chart.draw_series(points.into_iter().map(|at| Circle::new(at, 4, colour.filled())))?;
    }
    legend(&mut chart)?;
    area.present()?;
    Ok(())
}

fn legend<'a, X, Y>(chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>) -> Result
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(FONT)
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE.filled())
        .draw()?;
    Ok(())
}

/// Powers of ten around all values.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()))
}
