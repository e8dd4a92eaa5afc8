//! Blocks in turn, medians, and bounds.

use std::fmt;
use std::time::Duration;

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    pub pairs: usize,
    pub short: bool,
}

impl Length {
    /// A number of iterations, or few.
    pub fn of(self, n: u64) -> u64 {
        if self.short { (n / 100).clamp(2, 50) } else { n }
    }
}

/// The result of one comparison.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    /// The median of what is compared with, and what is compared.
    pub base: f64,
    pub value: f64,
    /// The median of the pairs' ratios, and their quartiles.
    pub ratio: f64,
    quartiles: [f64; 2],
    /// What the ratio must be.
    bound: Bound,
    /// What the two are.
    what: String,
}

#[derive(Debug, Clone, Copy)]
pub enum Bound {
    AtMost(f64),
    #[cfg_attr(target_os = "freebsd", allow(dead_code))] // for a peer that only Linux has
    AtLeast(f64),
    None,
}

impl Row {
    /// From pairs of (what is compared with, what is compared).
    pub fn new(
        name: &'static str,
        pairs: &[(f64, f64)],
        bound: Bound,
        what: impl Into<String>,
    ) -> Self {
        let ratios: Vec<f64> = pairs.iter().map(|(base, value)| value / base).collect();
        let quartiles = [quantile(&ratios, 0.25), quantile(&ratios, 0.75)];
        Row {
            name,
            base: quantile(&pairs.iter().map(|pair| pair.0).collect::<Vec<_>>(), 0.5),
            value: quantile(&pairs.iter().map(|pair| pair.1).collect::<Vec<_>>(), 0.5),
            ratio: quantile(&ratios, 0.5),
            quartiles,
            bound,
            what: what.into(),
        }
    }

    pub fn holds(&self) -> bool {
        match self.bound {
            Bound::AtMost(bound) => self.ratio <= bound,
            Bound::AtLeast(bound) => self.ratio >= bound,
            Bound::None => true,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.quartiles;
        write!(f, "{:<36} {:.3} ({low:.3} to {high:.3})", self.name, self.ratio)?;
        let bound = match self.bound {
            Bound::AtMost(bound) => format!("at most {bound}"),
            Bound::AtLeast(bound) => format!("at least {bound}"),
            Bound::None => String::new(),
        };
        let verdict = match self.bound {
            Bound::None => "no bound",
            _ if self.holds() => "holds",
            _ => "DOES NOT HOLD",
        };
        write!(f, "  {bound:<14} {verdict:<14} {}", self.what)
    }
}

/// Two blocks in turn, so many times; which comes first changes each time.
pub fn pairs(
    length: Length,
    mut base: impl FnMut() -> f64,
    mut value: impl FnMut() -> f64,
) -> Vec<(f64, f64)> {
    (0..length.pairs)
        .map(|pair| {
            if pair % 2 == 0 {
                let base = base();
                (base, value())
            } else {
                let value = value();
                (base(), value)
            }
        })
        .collect()
}

/// Nanoseconds for one of `n`.
pub fn each(taken: Duration, n: u64) -> f64 {
    taken.as_nanos() as f64 / n as f64
}

/// A quantile, by the nearest rank between two.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = q * (sorted.len().saturating_sub(1)) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(low), sorted.get(high)) {
        (Some(a), Some(b)) => a + (b - a) * place.fract(),
        _ => f64::NAN,
    }
}
