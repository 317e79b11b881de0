//! Runs of the same program, and their medians.

use std::time::Duration;

use crate::{BenchResult, Program, Run};

/// The runs of one program.
#[derive(Debug, Clone, Default)]
pub struct Series {
    runs: Vec<Run>,
}

impl Series {
    /// Adds a run.
    pub fn push(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// All values of a kind, in ascending order.
    fn sorted<T: Ord>(&self, value: impl Fn(&Run) -> T) -> Vec<T> {
        let mut values: Vec<T> = self.runs.iter().map(value).collect();
        values.sort_unstable();
        values
    }

    fn median<T: Ord + Copy + Default>(&self, value: impl Fn(&Run) -> T) -> T {
        let values = self.sorted(value);
        values.get(values.len() / 2).copied().unwrap_or_default()
    }

    /// The median time.
    pub fn wall(&self) -> Duration {
        self.median(|run| run.wall)
    }

    /// The median CPU time.
    pub fn cpu(&self) -> Duration {
        self.median(|run| run.cpu)
    }

    /// The median peak of memory, in bytes.
    pub fn peak(&self) -> u64 {
        self.median(|run| run.peak)
    }

    /// The least and the most time.
    pub fn spread(&self) -> (Duration, Duration) {
        let values = self.sorted(|run| run.wall);
        (values.first().copied().unwrap_or_default(), values.last().copied().unwrap_or_default())
    }

    /// How many times as long it takes as the other.
    pub fn ratio(&self, to: &Self) -> f64 {
        self.wall().as_secs_f64() / to.wall().as_secs_f64()
    }
}

/// A count as a number to divide.
pub fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// How many a second.
pub fn per_second(count: usize, wall: Duration) -> f64 {
    to_f64(count) / wall.as_secs_f64()
}

/// Runs the programs in turns, so many times each.
///
/// # Errors
/// Where one fails.
pub fn interleave<const N: usize>(rounds: usize, programs: [&Program; N]) -> BenchResult<[Series; N]> {
    let mut all = std::array::from_fn(|_| Series::default());
    for _ in 0..rounds {
        for (series, program) in all.iter_mut().zip(programs) {
            series.push(program.run()?);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(milliseconds: &[u64]) -> Series {
        let mut series = Series::default();
        for wall in milliseconds.iter().copied().map(Duration::from_millis) {
            series.push(Run { wall, cpu: wall * 2, peak: 7, stderr: String::new() });
        }
        series
    }

    #[test]
    fn an_outlier_moves_no_median() {
        let slow = series(&[40, 900, 30]);
        assert_eq!((slow.wall(), slow.cpu()), (Duration::from_millis(40), Duration::from_millis(80)));
        assert_eq!(slow.spread(), (Duration::from_millis(30), Duration::from_millis(900)));
        assert!((slow.ratio(&series(&[20])) - 2.0).abs() < 1e-9);
    }
}
